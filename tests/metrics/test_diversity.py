import math
from itertools import chain

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.base import MetricContext, MetricError
from metrics.diversity import Diversity, ngram_statistics

TEXTS = st.lists(st.lists(st.integers(0, 3), max_size=9), min_size=1, max_size=6)


def brute_force(texts):
    expected = {}
    for n in (1, 2, 3, 4):
        grams = [[tuple(text[i : i + n]) for i in range(len(text) - n + 1)] for text in texts if len(text) >= n]
        if not grams:
            continue
        every = list(chain.from_iterable(grams))
        expected[f"distinct_{n}"] = len(set(every)) / len(every)
        shares = [every.count(gram) / len(every) for gram in set(every)]
        expected[f"entropy_{n}"] = -sum(share * math.log(share) for share in shares)
        if n > 1:
            expected[f"rep_{n}"] = 1 - sum(len(set(text)) for text in grams) / len(every)
        if n == 4:
            expected["seq_rep_4"] = sum(1 - len(set(text)) / len(text) for text in grams) / len(grams)
            expected["diversity"] = (1 - expected["rep_2"]) * (1 - expected["rep_3"]) * (1 - expected["rep_4"])
    return expected


@given(TEXTS.filter(any))
def test_equals_brute_force(texts):
    statistics = ngram_statistics(texts)
    assert statistics == pytest.approx(brute_force(texts), abs=1e-12)


@given(TEXTS.filter(any))
def test_empty_texts_and_the_type_of_sequence_change_nothing(texts):
    as_arrays = [np.array(text, dtype=np.int32) for text in [*texts, []]]
    assert ngram_statistics(as_arrays) == ngram_statistics(texts)


def test_all_keys_of_a_long_text():
    orders = [f"{name}_{n}" for name in ("distinct", "entropy") for n in (1, 2, 3, 4)]
    assert set(ngram_statistics([[1, 2, 3, 4]])) == {"rep_2", "rep_3", "rep_4", "diversity", "seq_rep_4", *orders}


def test_an_order_without_ngrams_is_left_out():
    assert set(ngram_statistics([[1, 2], [3]])) == {"distinct_1", "entropy_1", "rep_2", "distinct_2", "entropy_2"}


def test_ngrams_do_not_cross_texts():
    assert ngram_statistics([[1, 2], [2, 1]])["distinct_2"] == 1
    assert ngram_statistics([[1], [1]]).keys() == {"distinct_1", "entropy_1"}


def test_markov_chain_entropies():
    """A text with every transition of the chain [[.9, .1], [.4, .6]] at its stationary frequency."""
    circuit = [0] * 72 + [1] * 13 + [0] + [1, 0] * 7
    statistics = ngram_statistics([[0, *circuit * 100]])
    assert statistics["entropy_2"] == pytest.approx(0.8950711, abs=1e-7)
    assert statistics["entropy_1"] == pytest.approx(0.5004024, abs=1e-4)


@pytest.mark.parametrize("texts", [[], [[], []]])
def test_no_token_at_all_is_an_error(texts):
    with pytest.raises(MetricError, match="at least one token"):
        ngram_statistics(texts)


def test_metric_reads_ids_from_a_stored_table(tmp_path):
    table = pd.DataFrame({"completion_ids": [[1, 2, 1, 2, 1], []]})
    table.to_parquet(tmp_path / "generations.parquet")
    stored = pd.read_parquet(tmp_path / "generations.parquet")
    assert Diversity().compute(stored, MetricContext()) == Diversity().compute(table, MetricContext())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ([5], {"distinct_1": 1, "entropy_1": 0}),
        ([70000], {"distinct_1": 1, "entropy_1": 0}),
        ([2**16, 2**16], {"distinct_1": 0.5, "entropy_1": 0, "distinct_2": 1, "entropy_2": 0, "rep_2": 0}),
    ],
)
def test_one_text(text, expected):
    assert ngram_statistics([text]) == expected


def test_ids_beyond_16_bits_are_told_apart():
    assert ngram_statistics([[0, 2**16]])["distinct_1"] == 1
    assert ngram_statistics([[0, 1, 2**16, 2**16 + 1]])["entropy_1"] == pytest.approx(math.log(4))


def test_bad_ids_in_a_table_are_a_metric_error():
    with pytest.raises(MetricError, match="text 1 has the token id -7"):
        Diversity().compute(pd.DataFrame({"completion_ids": [[1], [-7]]}), MetricContext())
