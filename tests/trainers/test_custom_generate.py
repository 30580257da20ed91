from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from transformers import AutoModelForCausalLM

from metrics.endings import final_texts
from metrics.tree import text_tree
from trainers.decoding import Decoder
from trainers.generation import sample
from trainers.policy import Policy

MakePolicy = Callable[..., Policy]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the copies that transformers makes of remote code out of the user's cache."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))


@pytest.fixture
def make_attentive(make_policy: MakePolicy) -> MakePolicy:
    """Policies to which it matters what they see, and where: fresh weights are too small for that."""

    def make(seed: int) -> Policy:
        policy = make_policy(seed=seed)
        for weights in policy.model.model.layers.parameters():
            if weights.ndim == 2:
                weights.data.mul_(15)
        return policy

    return make


def padded(prompts: list[list[int]]) -> dict[str, torch.Tensor]:
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("seed", [3, 4])
def test_greedy_walks_are_ours(make_attentive: MakePolicy, tmp_path: Path, seed: int) -> None:
    policy = make_attentive(seed)
    policy.save(tmp_path / "policy")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "policy")
    prompts = [policy.prompt_ids(prompt) for prompt in ("", "a", "bcd", "ee", "c", "ad")]
    walks = sample(policy, prompts, Decoder(temperature=0), 0, max_new_tokens=6, max_actions=15)
    assert "actions" in {walk.finish for walk in walks}
    inputs = padded(prompts)
    written = model.generate(
        **inputs,
        custom_generate=str(tmp_path / "policy"),
        trust_remote_code=True,
        do_sample=False,
        max_new_tokens=6,
        max_actions=15,
    )
    width = inputs["input_ids"].shape[1]
    assert torch.equal(written[:, :width], inputs["input_ids"])
    for row, walk in zip(written[:, width:].tolist(), walks, strict=True):
        assert row == walk.visible + [policy.tokenizer.pad_token_id] * (len(row) - len(walk.visible))


@pytest.mark.usefixtures("cache")
def test_samples_follow_our_distribution(make_attentive: MakePolicy, tmp_path: Path) -> None:
    """Against the exact probabilities of all texts, cut ones too; every text that is not rare is one cell."""
    policy = make_attentive(4)
    policy.save(tmp_path / "policy")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "policy")
    count, bounds = 3000, {"max_new_tokens": 4, "max_actions": 6}
    torch.manual_seed(0)
    written = model.generate(
        torch.tensor([policy.prompt_ids("")] * count),
        custom_generate=str(tmp_path / "policy"),
        trust_remote_code=True,
        do_sample=True,
        top_k=0,
        top_p=0.97,
        temperature=1.5,
        **bounds,
    )[:, 1:]
    pad = policy.tokenizer.pad_token_id
    found = Counter(policy.tokenizer.decode([token for token in row if token != pad]) for row in written.tolist())
    tree = text_tree(policy, "abcde", 4, Decoder(top_p=0.97, temperature=1.5))
    begun = final_texts(tree, max_actions=6).begun
    final = [level - deeper.reshape(-1, 5).sum(1) for level, deeper in pairwise(begun)] + begun[-1:]
    texts = ["".join(text) for length in range(5) for text in product("abcde", repeat=length)]
    exact = dict(zip(texts, np.concatenate(final), strict=True))
    assert sum(exact.values()) == pytest.approx(1)
    never = replace(tree, erase=[np.zeros_like(level) for level in tree.erase])
    assert final_texts(never, max_actions=6).begun[0] < 0.6, "the case is empty unless many walks erase"
    common = [text for text, probability in exact.items() if count * probability > 10]
    observed, expected = ([source[text] for text in common] for source in (found, exact))
    table = [*observed, count - sum(observed)], [*(count * np.array(expected)), count * (1 - sum(expected))]
    assert chisquare(*table).pvalue > 1e-3
