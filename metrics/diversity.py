"""Repetition and diversity of n-grams of token ids.

Where a corpus has texts of T tokens with ``T - n + 1`` n-grams each:

- ``rep_n = 1 - sum_texts |unique| / sum_texts |all|``, unique within each text, and
  ``diversity = prod_{n=2..4} (1 - rep_n)`` (Su et al. 2022, arXiv 2202.06417);
- ``seq_rep_4``: mean over texts of ``1 - |unique| / |all|`` (Welleck et al. 2019, arXiv 1908.04319);
- ``distinct_n = |unique in the corpus| / |all|`` (Li et al. 2016, arXiv 1510.03055);
- ``entropy_n = -sum f ln f`` over corpus frequencies f, in nats.

``distinct_n`` and ``entropy_n`` depend on the number of tokens, so they compare only corpora of equal size.

Optional are ``zipf``, the slope of frequency over rank (Holtzman et al. 2020, arXiv 1904.09751), and ``self_bleu``
(see ``metrics.self_bleu``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import entr

from metrics.base import Estimate, KnownAnswer, Metric, MetricContext, MetricError, Value
from metrics.ngrams import ORDERS, NgramCounts, count_ngrams
from metrics.sample_error import mean, ratio, spread
from metrics.self_bleu import self_bleu

ZIPF_RANKS = 5000
"""Most frequent tokens that the Zipf coefficient is fitted to, as in the source."""


def ngram_statistics(sequences: Sequence[ArrayLike]) -> dict[str, float]:
    """Statistics of the n-grams of a corpus (formulas at the top of this module).

    Args:
        sequences: one sequence of token ids per text. A text shorter than n has no n-grams and counts for
            nothing in the statistics of that order; it does not enter the mean of ``seq_rep_4`` either.

    Returns:
        ``rep_2..rep_4, diversity, distinct_1..distinct_4, entropy_1..entropy_4`` (nats) and ``seq_rep_4``. An
        order of which the corpus has no n-gram is left out, and ``diversity`` unless it has all three.

    Raises:
        MetricError: if no text has a token, or something is no token id (see ``metrics.ngrams.count_ngrams``).
    """
    return _statistics(count_ngrams(sequences), len(sequences))


def _statistics(counts: Mapping[int, NgramCounts], texts: int) -> dict[str, float]:
    if not counts:
        raise MetricError(f"n-gram statistics need at least one token, but all {texts} texts are empty")
    statistics: dict[str, float] = {}
    for order, found in counts.items():
        total = int(found.totals.sum())
        if order > 1:
            statistics[f"rep_{order}"] = ratio(found.totals - found.uniques, found.totals)
        statistics[f"distinct_{order}"] = len(found.occurrences) / total
        shares = found.occurrences / total
        statistics[f"entropy_{order}"] = float(entr(shares).sum())
        if order == 4:
            statistics["seq_rep_4"] = mean(1 - found.uniques / found.totals)
            statistics["diversity"] = _diversity(counts)
    return statistics


def _diversity(counts: Mapping[int, NgramCounts]) -> Estimate:
    """Product of the unique shares of 2, 3 and 4-grams; a text moves all three at once."""
    lengths = counts[1].totals
    value, moves = 1.0, np.zeros(len(lengths))
    for order in ORDERS[1:]:
        found = counts[order]
        total, unique = int(found.totals.sum()), int(found.uniques.sum())
        value *= unique / total
        moves[lengths >= order] += found.uniques / unique - found.totals / total
    return Estimate(value, value * spread(moves))


def zipf_coefficient(occurrences: ArrayLike, ranks: int = ZIPF_RANKS) -> float | None:
    """Exponent s of the power law ``frequency ~ rank**-s``, by least squares in logarithms.

    Args:
        occurrences: how often each different token occurs, shape ``(different,)``, at least 1 each.
        ranks: most frequent tokens that the line is fitted to.

    Returns:
        s, 0 where all are equally frequent; None for fewer than two different tokens, through which no line goes.

    Raises:
        MetricError: if a token does not occur.
    """
    frequencies = np.sort(np.asarray(occurrences, np.float64))[::-1][:ranks]
    if not (frequencies > 0).all():
        raise MetricError("the Zipf coefficient is of tokens that occur: leave out those with no occurrence")
    if len(frequencies) < 2:
        return None
    rank = np.log(np.arange(1, len(frequencies) + 1))
    rank -= rank.mean()
    return float(-(rank @ np.log(frequencies)) / (rank @ rank))


@dataclass(frozen=True, kw_only=True)
class Diversity(Metric):
    """N-gram statistics of the visible token ids, in the tokens of the policy.

    Directions are those of the sources. Gibberish is the most diverse text of all: read these numbers beside
    MAUVE, and beside those of human text.

    Attributes:
        zipf: report the Zipf coefficient of the tokens; left out where fewer than two are different.
        self_bleu: report self-BLEU of this many texts, or of all if there are fewer; 0: do not.
    """

    zipf: bool = False
    self_bleu: int = 0

    columns: ClassVar[tuple[str, ...]] = ("completion_ids",)
    values: ClassVar[Mapping[str, Value]] = {
        "diversity": Value(higher_is_better=True, range=(0, 1)),
        "seq_rep_4": Value(higher_is_better=False, range=(0, 1)),
        **{f"rep_{order}": Value(higher_is_better=False, range=(0, 1)) for order in (2, 3, 4)},
        **{f"distinct_{order}": Value(higher_is_better=None, range=(0, 1)) for order in (1, 2, 3, 4)},
        **{
            f"entropy_{order}": Value(higher_is_better=None, range=(0, math.inf), unit="nats") for order in (1, 2, 3, 4)
        },
        "zipf": Value(higher_is_better=None, range=(0, math.inf)),
        "self_bleu": Value(higher_is_better=False, range=(0, 1)),
    }

    def __post_init__(self) -> None:
        if self.self_bleu < 0 or self.self_bleu == 1:
            raise ValueError(f"Diversity: self_bleu must be 0 (off) or at least 2 texts, got {self.self_bleu}")

    def extras(self) -> Mapping[str, str]:
        """What self-BLEU needs, where it is asked for."""
        return {"sacrebleu": "bleu"} if self.self_bleu else {}

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        self.check(generations, context)
        texts = generations["completion_ids"].tolist()
        counts = count_ngrams(texts)
        statistics = _statistics(counts, len(texts))
        if self.zipf and (slope := zipf_coefficient(counts[1].occurrences)) is not None:
            statistics["zipf"] = slope
        if self.self_bleu:
            statistics["self_bleu"] = self_bleu(texts, at_most=self.self_bleu, seed=context.seed)
        return statistics

    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        cat = cls().compute(_table([[0, 1, 2, 3, 0, 4] * 2]), MetricContext())
        uniform = cls().compute(_table([[0], [1], [2], [3]]), MetricContext())
        harmonic = cls(zipf=True).compute(_table([[0] * 12 + [1] * 6, [2] * 4 + [3] * 3]), MetricContext())
        case = "'the cat sat on the mat' twice, words"
        return [
            KnownAnswer(case + ": rep_2", cat["rep_2"], 5 / 11),
            KnownAnswer(case + ": rep_3", cat["rep_3"], 4 / 10),
            KnownAnswer(case + ": rep_4", cat["rep_4"], 3 / 9),
            KnownAnswer(case + ": diversity", cat["diversity"], 6 / 11 * 6 / 10 * 6 / 9),
            KnownAnswer(case + ": seq_rep_4", cat["seq_rep_4"], 3 / 9),
            KnownAnswer("four different tokens: entropy_1", uniform["entropy_1"], math.log(4)),
            KnownAnswer("four different tokens: distinct_1", uniform["distinct_1"], 1),
            KnownAnswer("frequencies 12, 6, 4, 3: zipf", harmonic["zipf"], 1),
        ]


def _table(sequences: list[list[int]]) -> pd.DataFrame:
    return pd.DataFrame({"completion_ids": sequences})
