"""Statistics of paired differences over training seeds, and across tasks; pure functions of numbers.

The unit of replication is the training seed. A difference is that of two trainers under one seed: same initial weights,
data order and prompts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

EXACT_PAIRS = 14
"""Most pairs for which all sign patterns are enumerated: 2**14, in about 0.1 s."""
RESAMPLES = 19_999
"""Sign patterns drawn for more pairs, and resamples of a bootstrap."""
TIE = 1e-9
"""Sums of differences that differ by less than this, relative to the sum of sizes, count as equal."""


@dataclass(frozen=True)
class SignFlip:
    """Result of a sign-flip test: ``p``, and whether it is exact or from sign patterns that were drawn."""

    p: float
    exact: bool


def sign_flips(families: Sequence[ArrayLike], seed: int = 0) -> list[SignFlip]:
    """Two-sided sign-flip tests (Fisher's randomisation test of pairs) that differences are symmetric around 0.

    ``p`` is the share of sign patterns under which the sum is at least as far from 0 as it is, ties included. It is
    valid for any distribution and any effect that pairs share, and never below ``sign_flip_floor``. Up to
    ``EXACT_PAIRS`` pairs all patterns are enumerated; beyond that ``RESAMPLES`` are drawn, and the pattern at hand is
    counted with them, which keeps the test valid (Phipson & Smyth 2010, arXiv 1603.05766). Sets of equal length are
    tested under the same patterns.

    Args:
        families: sets of differences, each of shape ``(n,)``, n at least 1 and its own, finite.
        seed: of the drawn patterns.

    Raises:
        ValueError: if a set has no difference, or one is not finite.
    """
    values = [_finite(differences) for differences in families]
    found = dict[int, SignFlip]()
    for n in {len(each) for each in values}:
        places = [place for place, each in enumerate(values) if len(each) == n]
        exact = n <= EXACT_PAIRS
        together = np.stack([values[place] for place in places], axis=1)
        sums = _signs(n, None if exact else seed) @ together
        # Rounding splits ties where the sum is near 0.
        thresholds = np.abs(together.sum(0)) - TIE * np.abs(together).sum(0)
        for place, extreme in zip(places, (np.abs(sums) >= thresholds).sum(0).tolist(), strict=True):
            found[place] = SignFlip(extreme / 2**n if exact else (extreme + 1) / (RESAMPLES + 1), exact)
    return [found[place] for place in range(len(values))]


@lru_cache(maxsize=4)
def _signs(n: int, seed: int | None) -> NDArray[np.float64]:
    """Sign patterns of n pairs, a row each: all of them, or with a seed ``RESAMPLES`` that are drawn."""
    if seed is None:
        return np.where(np.arange(2**n)[:, None] >> np.arange(n) & 1, -1.0, 1.0)
    return np.where(np.random.default_rng(seed).integers(0, 2, (RESAMPLES, n)), -1.0, 1.0)


def sign_flip_floor(n: int) -> float:
    """Smallest p that a two-sided sign-flip test of n pairs can give: 2 of 2**n patterns."""
    return 2 / 2**n if n <= EXACT_PAIRS else 1 / (RESAMPLES + 1)


def seeds_needed(comparisons: int, alpha: float) -> int:
    """Fewest pairs with which each of so many comparisons can reach ``alpha`` after Holm's correction.

    The least n with ``comparisons * 2 / 2**n <= alpha``: 6 for one comparison at 0.05.

    Raises:
        ValueError: if there is no comparison, or alpha does not lie between 0 and 1.
    """
    if comparisons < 1 or not 0 < alpha < 1:
        raise ValueError(f"needs at least 1 comparison and 0 < alpha < 1, got {comparisons} and {alpha}")
    n = 1
    while 2 * comparisons > alpha * 2**n:
        n += 1
    return n


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """p-values adjusted by Holm's step-down method (1979), which holds the family-wise error rate in any dependence.

    Args:
        p_values: of one family, shape ``(m,)``, in [0, 1].

    Returns:
        Shape ``(m,)``, in the order given: the smallest level at which the family would reject each.
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return adjusted


def t_interval(differences: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Student-t confidence interval of a mean.

    Args:
        differences: shape ``(n,)``, finite.
        level: coverage, between 0 and 1.

    Returns:
        Lower and upper bound. NaN where a single number leaves its spread unknown.

    Raises:
        ValueError: if there is no difference, or one is not finite.
    """
    values = _finite(differences)
    if len(values) == 1:
        return math.nan, math.nan
    reach = float(stats.t.isf((1 - level) / 2, len(values) - 1) * values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - reach, float(values.mean()) + reach


def iqm(values: ArrayLike) -> float:
    """Interquartile mean: the mean without the lowest and highest quarter, each rounded down to whole values.

    Agarwal et al. 2021, arXiv 2108.13264.
    """
    return float(stats.trim_mean(np.ravel(np.asarray(values, np.float64)), 0.25))


def probability_of_improvement(values: ArrayLike, baseline: ArrayLike) -> float:
    """Share of matched pairs in which a value is above the baseline's; equal ones count half.

    Agarwal et al. 2021 take all pairs of runs. Seeds are matched here, so a run is held against the baseline's run of
    the same seed and task.

    Args:
        values: the higher, the better.
        baseline: of the same shape.
    """
    return float(np.mean((1 + np.sign(np.asarray(values, np.float64) - np.asarray(baseline, np.float64))) / 2))


def share_interval(share: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a share of n independent trials.

    Exact for whole successes. Where a trial is itself a share, over tasks for example, n is the number of trials and
    not of tasks, and the interval is conservative.
    """
    successes, tail = share * n, (1 - level) / 2
    low = 0.0 if share <= 0 else float(stats.beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if share >= 1 else float(stats.beta.isf(tail, successes + 1, n - successes))
    return low, high


def bootstrap_interval(
    statistic: Callable[[NDArray[np.int64]], NDArray[np.float64]], n: int, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval of a statistic over n seeds, by expanded percentiles.

    The percentile interval of so few is too narrow, so its level is raised by what a Student-t interval is wider than a
    normal one, with the divisor n for n - 1 (Hesterberg 2015, arXiv 1411.5279). It can reach no further than the seeds
    do, and the range of fewer than 5 covers too little for an interval of 95 %.

    Args:
        statistic: maps indices of seeds, shape ``(resamples, n)``, to shape ``(resamples,)``.
        n: number of seeds.
        level: coverage, between 0 and 1.
        seed: of the resamples, ``RESAMPLES`` of them.

    Returns:
        Lower and upper bound; NaN for fewer than 5 seeds.
    """
    if n < 5:
        return math.nan, math.nan
    chosen = np.random.default_rng(seed).integers(n, size=(RESAMPLES, n))
    tail = stats.norm.sf(math.sqrt(n / (n - 1)) * stats.t.isf((1 - level) / 2, n - 1))
    low, high = np.quantile(statistic(chosen), [tail, 1 - tail])
    return float(low), float(high)


def _finite(differences: ArrayLike | Sequence[float]) -> NDArray[np.float64]:
    values = np.asarray(differences, np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"needs at least one finite number, in one dimension, got {values}")
    return values
