"""Counting n-grams of token ids by sorting packed integers.

Four ids of 16 bits fit into one unsigned integer of 64 bits. Where ids are larger, pairs are ranked first: there are
fewer different pairs than tokens, so a rank fits into 32 bits, and two ranks into 64. Nothing is hashed: counts are
exact for any vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics.base import MetricError

Codes = NDArray[np.uint32] | NDArray[np.uint64]

ORDERS = (1, 2, 3, 4)
NARROW = 2**16
WIDE = 2**32


@dataclass(frozen=True)
class NgramCounts:
    """The n-grams of a corpus; none crosses from one text into the next.

    Attributes:
        occurrences: how often each different n-gram occurs, n-grams in lexicographic order, shape ``(different,)``.
        totals: n-grams of each text that has any, shape ``(texts,)``.
        uniques: different n-grams of each of these texts, shape ``(texts,)``.
    """

    occurrences: NDArray[np.int64]
    totals: NDArray[np.int64]
    uniques: NDArray[np.int64]


def count_ngrams(sequences: Sequence[ArrayLike]) -> dict[int, NgramCounts]:
    """Count n-grams of the orders 1 to 4.

    Args:
        sequences: one sequence of token ids per text; whole numbers of at least 0 and less than 2**32.

    Returns:
        Counts by order; an order of which the corpus has no n-gram is left out.

    Raises:
        MetricError: if a text is no flat sequence of whole numbers, or an id is out of range.
    """
    texts = [_token_ids(sequence, index) for index, sequence in enumerate(sequences)]
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    tokens = np.concatenate([*texts, np.zeros(0, np.uint32)])
    packed = _pack(tokens)
    return {
        order: _count(codes, lengths, order)
        for order, codes in zip(ORDERS, packed, strict=True)
        if lengths.max(initial=0) >= order
    }


def _token_ids(sequence: ArrayLike, index: int) -> NDArray[np.uint32]:
    ids = np.asarray(sequence)
    if ids.ndim != 1 or (len(ids) and ids.dtype.kind not in "iu"):
        raise MetricError(
            f"text {index} is not a flat sequence of token ids, but of type {ids.dtype} and shape {ids.shape}"
        )
    if len(ids) and not (ids.min() >= 0 and ids.max() < WIDE):
        wrong = ids.min() if ids.min() < 0 else ids.max()
        raise MetricError(f"text {index} has the token id {wrong}; ids must lie in [0, {WIDE})")
    return ids.astype(np.uint32)


def _pack(tokens: NDArray[np.uint32]) -> tuple[Codes, ...]:
    """Codes of the n-grams of each order that begin at each place, also of those that cross from text to text.

    Codes of one order are equal where the n-grams are.
    """
    if tokens.max(initial=0) < NARROW:
        pairs = tokens[:-1] << np.uint32(16) | tokens[1:]
    else:
        pairs = np.unique(_join(tokens[:-1], tokens[1:]), return_inverse=True)[1].astype(np.uint32)
    return tokens, pairs, _join(pairs[:-1], tokens[2:]), _join(pairs[:-2], pairs[2:])


def _join(high: NDArray[np.uint32], low: NDArray[np.uint32]) -> NDArray[np.uint64]:
    return high.astype(np.uint64) << np.uint64(32) | low


def _count(codes: Codes, lengths: NDArray[np.int64], order: int) -> NgramCounts:
    ends = np.cumsum(lengths)
    starts, stops = (ends - lengths)[lengths >= order], ends[lengths >= order] - order + 1
    # Texts are sorted apart first, to count what is unique in each.
    pieces = [np.sort(codes[start:stop]) for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
    corpus = np.concatenate(pieces)
    totals = stops - starts
    firsts = np.cumsum(totals) - totals
    new = np.ones(len(corpus), np.bool_)
    np.not_equal(corpus[1:], corpus[:-1], out=new[1:])
    new[firsts] = True
    uniques = np.add.reduceat(new, firsts, dtype=np.int64)
    corpus.sort(kind="stable")  # merges the pieces
    np.not_equal(corpus[1:], corpus[:-1], out=new[1:])
    occurrences = np.diff(np.flatnonzero(new), append=len(corpus))
    return NgramCounts(occurrences, totals, uniques)
