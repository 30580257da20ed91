"""What is sampled is what is computed: final texts of a policy that erases, against their exact distribution."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from metrics.exact import final_text_distribution
from metrics.tabular import TabularLanguage
from trainers.decoding import Decoder
from trainers.model_spec import ModelSpec
from trainers.models import build_policy, tokenizer_for
from trainers.policy import Policy

DEPTH = 4


@pytest.fixture
def three_letters(spec: ModelSpec) -> Policy:
    policy = build_policy(spec, tokenizer_for(spec, lambda: iter(["abc"]), None), backspace=True, seed=3)
    policy.model.get_output_embeddings().weight.data.normal_(std=0.2, generator=torch.Generator().manual_seed(3))
    policy.model.eval()
    return policy


@pytest.mark.slow
@pytest.mark.parametrize("count", [20_000, pytest.param(200_000, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("decoder", "max_actions"),
    [(Decoder(), 60), (Decoder(), 5), (Decoder(backspace_bias=3.0, temperature=0.9, min_p=0.01), 8)],
)
def test_final_texts_follow_the_exact_distribution(
    three_letters: Policy, decoder: Decoder, max_actions: int, count: int
) -> None:
    strings = tuple(word for length in range(DEPTH) for word in product(range(3), repeat=length))
    language = TabularLanguage(("a", "b", "c"), DEPTH - 1, strings, np.full(len(strings), 1 / len(strings)))
    exact = final_text_distribution(
        three_letters, language, decoder=decoder, max_new_tokens=DEPTH, max_actions=max_actions
    )
    table = three_letters.generate([""] * count, decoder, 0, DEPTH, max_actions, batch_size=2000)
    written = Counter(table["completion"][table["finish"] == "eos"])
    observed = np.array([written["".join("abc"[letter] for letter in word)] for word in language.strings])
    observed = np.append(observed, count - observed.sum())
    assert observed[exact == 0].sum() == 0
    common = count * exact >= 5
    pooled = np.array([[*seen[common], seen[~common].sum()] for seen in (observed, count * exact)])
    assert table["n_backspaces"].sum() > count / 10
    assert (table["finish"] == "actions").sum() > count / 100 or max_actions == 60
    assert common.sum() > 20
    assert chisquare(*pooled[:, pooled[1] > 0], sum_check=False).pvalue > 1e-3
