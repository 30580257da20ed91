from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metrics.base import MetricError
from metrics.ngrams import count_ngrams

IDS = st.one_of(
    st.integers(0, 3),
    st.sampled_from([0, 1, 2**15, 2**16 - 1]),
    st.sampled_from([0, 1, 2**16 - 1, 2**16, 2**16 + 1, 2**17, 2**31, 2**32 - 1]),
)
TEXTS = st.lists(st.lists(IDS, max_size=9), max_size=6)


def brute_force(texts):
    found = {}
    for order in (1, 2, 3, 4):
        grams = [[tuple(text[i : i + order]) for i in range(len(text) - order + 1)] for text in texts]
        grams = [each for each in grams if each]
        if grams:
            corpus = Counter(gram for each in grams for gram in each)
            occurrences = [count for _, count in sorted(corpus.items())]
            found[order] = (occurrences, [len(each) for each in grams], [len(set(each)) for each in grams])
    return found


def as_lists(counts):
    return {
        order: (each.occurrences.tolist(), each.totals.tolist(), each.uniques.tolist())
        for order, each in counts.items()
    }


@given(TEXTS)
@example([[0, 1, 2**16], [2**16, 0, 1]])
@example([[2**16, 0], [1, 0]])
@example([[], [5], [], [5, 5, 5, 5], []])
def test_equals_brute_force(texts):
    assert as_lists(count_ngrams(texts)) == brute_force(texts)


@pytest.mark.parametrize("vocabulary", [2**16 - 1, 2**16, 2**16 + 1, pytest.param(2**18, marks=pytest.mark.long)])
def test_vocabularies_around_16_bits(vocabulary):
    """Every id of the vocabulary occurs, the largest next to the smallest."""
    rng = np.random.default_rng(0)
    walk = rng.permutation(vocabulary)
    texts = [walk, np.concatenate([walk[::2], walk[:100]]), np.tile([vocabulary - 1, 0, 1], 50)]
    assert as_lists(count_ngrams(texts)) == brute_force([text.tolist() for text in texts])


@given(TEXTS, st.permutations([0, 1, 2, 3]))
def test_renaming_ids_changes_no_count(texts, order):
    """Narrow ids counted as wide ones: the two ways of packing agree."""
    narrow = [[token % 4 for token in text] for text in texts]
    names = [[0, 7, 2**16, 2**32 - 1][i] for i in order]
    wide = [[names[token] for token in text] for text in narrow]
    for order_, one in count_ngrams(narrow).items():
        other = count_ngrams(wide)[order_]
        assert sorted(one.occurrences) == sorted(other.occurrences)
        assert one.uniques.tolist() == other.uniques.tolist()


@given(TEXTS)
def test_counts_add_up(texts):
    for order, each in count_ngrams(texts).items():
        assert each.occurrences.sum() == each.totals.sum() == sum(max(0, len(text) - order + 1) for text in texts)
        assert (each.uniques <= each.totals).all()
        assert each.uniques.max() <= len(each.occurrences) <= each.uniques.sum()


@pytest.mark.parametrize("texts", [[], [[]], [[], []]])
def test_nothing_to_count(texts):
    assert count_ngrams(texts) == {}


@pytest.mark.parametrize("dtype", [np.int32, np.uint16, np.int64, np.uint64])
def test_the_type_of_array_does_not_matter(dtype):
    ids = np.array([1, 2, 1, 65535 % 2**15, 2, 1], dtype)
    assert as_lists(count_ngrams([ids])) == as_lists(count_ngrams([ids.tolist()]))


def test_the_texts_are_left_alone():
    text = np.array([3, 1, 2, 1], np.uint32)
    count_ngrams([text])
    assert text.tolist() == [3, 1, 2, 1]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([[1], [2, -1]], r"text 1 has the token id -1; ids must lie in \[0, 4294967296\)"),
        ([[2**32]], "text 0 has the token id 4294967296"),
        ([np.array([2**63], np.uint64)], "token id 9223372036854775808"),
        ([[2**64]], "text 0 is not a flat sequence of token ids"),
        ([[1.0, 2.0]], "not a flat sequence of token ids, but of type float64"),
        ([[1, None]], "not a flat sequence"),
        (["12"], "not a flat sequence"),
        ([[True, False]], "of type bool"),
        ([[[1, 2], [3, 4]]], r"shape \(2, 2\)"),
        ([7], r"shape \(\)"),
    ],
)
def test_what_is_no_token_id_is_named(texts, message):
    with pytest.raises(MetricError, match=message):
        count_ngrams(texts)
