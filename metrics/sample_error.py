"""Standard errors over test samples, where they are sound.

Samples are independent: prompts and draws. A share, a mean and a ratio of sums are all ratios R = sum a / sum b over
samples, whose standard error is by the delta method (Cochran 1977, "Sampling Techniques", chapter 6)

    sqrt(n / (n - 1) * sum (a - R b)^2) / sum b

Statistics of a corpus as a whole (MAUVE, distinct-n, entropies) have none here: they are biased by the number of
samples, and so is a bootstrap of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics.base import Estimate

ROUNDING = 1e-12


def ratio(numerators: ArrayLike, denominators: ArrayLike) -> Estimate:
    """Sum over sum, with its standard error.

    Args:
        numerators: one per sample, shape ``(n,)``.
        denominators: likewise; their sum is not 0.
    """
    above, below = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    total = math.fsum(below)
    value = math.fsum(above) / total
    moves = above - value * below
    return Estimate(value, spread(np.where(np.abs(moves) > ROUNDING * np.abs(above), moves, 0) / total))


def mean(values: ArrayLike) -> Estimate:
    """Mean with its standard error.

    Args:
        values: one per sample, shape ``(n,)``, n at least 1.
    """
    numbers = np.asarray(values, np.float64)
    return ratio(numbers, np.ones(len(numbers)))


def spread(influences: NDArray[np.float64]) -> float:
    """Standard error of a statistic, from what each sample moves it by.

    NaN where all move it by nothing: samples that agree, as 200 wrong answers do, show no spread, and 0 would call
    the number exact.

    Args:
        influences: shape ``(n,)``, their sum 0 up to rounding.
    """
    n, total = len(influences), float(np.square(influences).sum())
    return math.sqrt(n / (n - 1) * total) if n > 1 and total > 0 else math.nan


def by_sample(groups: Sequence[Sequence[float]]) -> Estimate | None:
    """Mean over the entries of all samples, which may have several each or none; None without any entry."""
    counts = [len(group) for group in groups]
    return ratio([math.fsum(group) for group in groups], counts) if any(counts) else None
