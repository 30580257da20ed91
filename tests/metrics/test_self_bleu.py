import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.base import MetricContext, MetricError
from metrics.diversity import Diversity, zipf_coefficient
from metrics.self_bleu import self_bleu


def table(texts):
    return pd.DataFrame({"completion_ids": texts})


def test_equal_texts_have_one_and_disjoint_texts_zero():
    assert self_bleu([[1, 2, 3, 4, 5]] * 3) == pytest.approx(1)
    assert self_bleu([[1, 2, 3, 4], [5, 6, 7, 8]]) == 0
    assert self_bleu([[1, 2], [1, 2]]) == pytest.approx(1)


def test_closed_form():
    """Of "a b c d e", 4 of 5, 3 of 4, 2 of 3 and 1 of 2 n-grams are in "a b c d f", and the other way round."""
    expected = (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4)
    assert self_bleu([[0, 1, 2, 3, 4], [0, 1, 2, 3, 5]]) == pytest.approx(expected)


def test_a_text_is_no_reference_of_itself():
    assert self_bleu([[1, 2, 3, 4], [1, 2, 3, 4], [5, 6, 7, 8]]) == pytest.approx(2 / 3)


def test_token_ids_are_not_tokenised_again():
    """12 and 1 share no token, though they share a digit."""
    assert self_bleu([[12, 12, 12, 12], [1, 2, 1, 2]]) == 0


@given(st.lists(st.lists(st.integers(0, 3), max_size=6), min_size=2, max_size=5), st.randoms())
def test_the_order_of_texts_and_empty_texts_change_nothing(texts, random):
    texts = [*texts, [1], [2]]
    shuffled = [*random.sample(texts, len(texts)), []]
    assert 0 <= self_bleu(texts) <= 1
    assert self_bleu(shuffled) == self_bleu(texts)
    assert self_bleu(shuffled, at_most=2, seed=3) == self_bleu(texts, at_most=2, seed=3)


def test_at_most_so_many_texts_are_drawn_by_the_seed():
    texts = [[1, 2, 3, 4]] * 2 + [[i, i, i, i] for i in range(10, 20)]
    assert self_bleu(texts, at_most=12) == self_bleu(texts)
    drawn = [self_bleu(texts, at_most=2, seed=seed) for seed in range(100)]
    assert set(np.round(drawn, 9)) == {0, 1}
    assert drawn[7] == self_bleu(texts, at_most=2, seed=7)


@pytest.mark.parametrize(("texts", "found"), [([], 0), ([[1, 2]], 1), ([[1, 2], []], 1), ([[], []], 0)])
def test_one_text_has_nothing_to_be_compared_with(texts, found):
    with pytest.raises(MetricError, match=f"at least two texts with tokens, got {found}"):
        self_bleu(texts)


def test_without_sacrebleu_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with pytest.raises(MetricError, match=r"seqmatch\[bleu\]"):
        self_bleu([[1], [1]])


def test_options_are_off_unless_asked_for():
    texts = table([[1, 2, 3, 4], [1, 2, 3, 4, 4]])
    plain, full = Diversity(), Diversity(zipf=True, self_bleu=2)
    more = full.compute(texts, MetricContext())
    assert more.keys() - plain.compute(texts, MetricContext()).keys() == {"zipf", "self_bleu"}
    assert more["self_bleu"] == self_bleu(texts["completion_ids"].tolist())
    script = "import sys, metrics.diversity; print('sacrebleu' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


@pytest.mark.parametrize("texts", [-1, 1])
def test_self_bleu_of_one_text_cannot_be_asked_for(texts):
    with pytest.raises(ValueError, match="self_bleu must be 0"):
        Diversity(self_bleu=texts)


@given(st.floats(0, 3), st.integers(2, 300))
def test_zipf_of_a_power_law_is_its_exponent(exponent, size):
    frequencies = 1e6 * np.arange(1, size + 1, dtype=float) ** -exponent
    shuffled = np.random.default_rng(0).permutation(frequencies)
    assert zipf_coefficient(shuffled) == pytest.approx(exponent, abs=1e-9)
    assert zipf_coefficient(7 * shuffled) == pytest.approx(exponent, abs=1e-9)


@pytest.mark.parametrize("occurrences", [[3, 0], [3, 1, -1], [3.0, float("nan")]])
def test_zipf_of_a_token_that_does_not_occur_is_an_error(occurrences):
    with pytest.raises(MetricError, match="tokens that occur"):
        zipf_coefficient(occurrences)


def test_zipf_looks_at_the_most_frequent_tokens_only():
    assert zipf_coefficient([12, 6, 4, 3, *[1] * 500], ranks=4) == pytest.approx(1)
    assert zipf_coefficient([8, 4]) == pytest.approx(math.log(2) / math.log(2))


@pytest.mark.parametrize("ids", [[4], [4, 4, 4]])
def test_zipf_of_one_token_is_left_out(ids):
    assert zipf_coefficient([len(ids)]) is None
    assert "zipf" not in Diversity(zipf=True).compute(table([ids]), MetricContext())
