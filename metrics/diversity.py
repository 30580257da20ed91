"""Repetition and diversity of n-grams of token ids.

Where a corpus has texts of T tokens with ``T - n + 1`` n-grams each:

- ``rep_n = 1 - sum_texts |unique| / sum_texts |all|``, unique within each text, and
  ``diversity = prod_{n=2..4} (1 - rep_n)`` (Su et al. 2022, arXiv 2202.06417);
- ``seq_rep_4``: mean over texts of ``1 - |unique| / |all|`` (Welleck et al. 2019, arXiv 1908.04319);
- ``distinct_n = |unique in the corpus| / |all|`` (Li et al. 2016, arXiv 1510.03055);
- ``entropy_n = -sum f ln f`` over corpus frequencies f, in nats.

``distinct_n`` and ``entropy_n`` depend on the number of tokens, so they compare only corpora of equal size.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from metrics.base import KnownAnswer, Metric, MetricContext, MetricError, Value

ORDERS = (1, 2, 3, 4)


def ngram_statistics(sequences: Sequence[Sequence[int]]) -> dict[str, float]:
    """Statistics of the n-grams of a corpus (formulas at the top of this module).

    Args:
        sequences: one sequence of token ids per text. A text shorter than n has no n-grams and counts for
            nothing in the statistics of that order; it does not enter the mean of ``seq_rep_4`` either.

    Returns:
        ``rep_2..rep_4, diversity, distinct_1..distinct_4, entropy_1..entropy_4`` (nats) and ``seq_rep_4``. An
        order of which the corpus has no n-gram is left out, and ``diversity`` unless it has all three.

    Raises:
        MetricError: if no text has a token.
    """
    texts = [np.asarray(sequence).tolist() for sequence in sequences]
    if not any(texts):
        raise MetricError(f"n-gram statistics need at least one token, but all {len(texts)} texts are empty")
    statistics: dict[str, float] = {}
    for order in ORDERS:
        grams = [list(zip(*(text[start:] for start in range(order)), strict=False)) for text in texts]
        grams = [text for text in grams if text]
        if not grams:
            break
        corpus = Counter(gram for text in grams for gram in text)
        total, unique = corpus.total(), [len(set(text)) for text in grams]
        if order > 1:
            statistics[f"rep_{order}"] = 1 - sum(unique) / total
        statistics[f"distinct_{order}"] = len(corpus) / total
        statistics[f"entropy_{order}"] = sum(count / total * math.log(total / count) for count in corpus.values())
        if order == 4:
            repeated = [1 - distinct / len(text) for distinct, text in zip(unique, grams, strict=True)]
            statistics["seq_rep_4"] = math.fsum(repeated) / len(grams)
            statistics["diversity"] = math.prod(1 - statistics[f"rep_{n}"] for n in ORDERS[1:])
    return statistics


@dataclass(frozen=True, kw_only=True)
class Diversity(Metric):
    """N-gram statistics of the visible token ids, in the tokens of the policy.

    Directions are those of the sources. Gibberish is the most diverse text of all: read these numbers beside
    MAUVE, and beside those of human text.
    """

    columns: ClassVar[tuple[str, ...]] = ("completion_ids",)
    values: ClassVar[Mapping[str, Value]] = {
        "diversity": Value(higher_is_better=True, range=(0, 1)),
        "seq_rep_4": Value(higher_is_better=False, range=(0, 1)),
        **{f"rep_{order}": Value(higher_is_better=False, range=(0, 1)) for order in (2, 3, 4)},
        **{f"distinct_{order}": Value(higher_is_better=None, range=(0, 1)) for order in (1, 2, 3, 4)},
        **{
            f"entropy_{order}": Value(higher_is_better=None, range=(0, math.inf), unit="nats") for order in (1, 2, 3, 4)
        },
    }

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        self.check(generations, context)
        return ngram_statistics(generations["completion_ids"].tolist())

    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        cat = cls().compute(_table([[0, 1, 2, 3, 0, 4] * 2]), MetricContext())
        uniform = cls().compute(_table([[0], [1], [2], [3]]), MetricContext())
        case = "'the cat sat on the mat' twice, words"
        return [
            KnownAnswer(case + ": rep_2", cat["rep_2"], 5 / 11),
            KnownAnswer(case + ": rep_3", cat["rep_3"], 4 / 10),
            KnownAnswer(case + ": rep_4", cat["rep_4"], 3 / 9),
            KnownAnswer(case + ": diversity", cat["diversity"], 6 / 11 * 6 / 10 * 6 / 9),
            KnownAnswer(case + ": seq_rep_4", cat["seq_rep_4"], 3 / 9),
            KnownAnswer("four different tokens: entropy_1", uniform["entropy_1"], math.log(4)),
            KnownAnswer("four different tokens: distinct_1", uniform["distinct_1"], 1),
        ]


def _table(sequences: list[list[int]]) -> pd.DataFrame:
    return pd.DataFrame({"completion_ids": sequences})
