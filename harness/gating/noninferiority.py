"""Paired non-inferiority: is a candidate worse than a baseline by no more than a margin, or by more, or is it open?

With the differences d_i over matched seeds, positive where the candidate is better, and their one-sided Student-t
bounds L and U, each at the given level:

- ok if L > -margin: proven not worse than the margin;
- regressed if U < -margin: proven worse than the margin;
- inconclusive otherwise.

Where the true difference is exactly -margin, each of the two proofs fails with probability 1 - level (Schuirmann 1987).
A relative margin is a share r of the baseline's mean, which is itself known from n seeds only. The bounds are therefore
those of the mean of d_i + r b_i, less the margin (Fieller's method): they hold their level for a ratio, which bounds of
d_i alone do not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from harness.gating.margins import Margin
from harness.statistics import t_interval

POWER = 0.8
"""Probability with which a candidate without a difference shall pass, for the number of seeds that is asked for."""
MOST_SEEDS = 10_000
TIE = 1e-9
"""A bound this close to the margin, relative to it, is on it: rounding decides nothing."""


class Verdict(StrEnum):
    """What a gate says."""

    OK = "ok"
    REGRESSED = "regressed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Decision:
    """A verdict and the numbers behind it, in the unit of the metric.

    Attributes:
        verdict: see the module.
        reason: why it is what it is; empty where the numbers say it.
        effect: mean difference, positive where the candidate is better; NaN without pairs.
        low, high: its one-sided bounds; NaN where there are none.
        margin: what may be lost, at least 0; NaN where a relative one has no baseline.
        seeds_needed: pairs with which a candidate without a difference passes with probability ``POWER``, given the
            spread seen here; None where that is unknown or beyond ``MOST_SEEDS``.
    """

    verdict: Verdict
    reason: str
    effect: float = math.nan
    low: float = math.nan
    high: float = math.nan
    margin: float = math.nan
    seeds_needed: int | None = None


def decide(
    candidate: ArrayLike, baseline: ArrayLike, higher_is_better: bool, margin: Margin, level: float = 0.95
) -> Decision:
    """Judge a candidate on matched seeds.

    Args:
        candidate: one value a seed, shape ``(n,)``, finite.
        baseline: likewise, seeds in the same order.
        higher_is_better: direction of the number.
        margin: what may be lost.
        level: of each one-sided bound, between 0.5 and 1.
    """
    new, old = np.asarray(candidate, np.float64), np.asarray(baseline, np.float64)
    n = len(new)
    if n == 0:
        return Decision(Verdict.INCONCLUSIVE, "no seed has a value on both sides")
    with np.errstate(over="ignore", invalid="ignore"):
        differences = new - old if higher_is_better else old - new
        mean = float(old.mean())
        shares = np.full(n, margin.amount) if not margin.relative else margin.amount * math.copysign(1, mean) * old
        slack = differences + shares
        effect, allowed = float(differences.mean()), float(shares.mean())
    if n == 1:
        return Decision(Verdict.INCONCLUSIVE, "one pair of seeds has no interval", effect, margin=allowed)
    if not differences.any():
        return Decision(Verdict.OK, "all differences are exactly zero", 0.0, 0.0, 0.0, allowed)
    if allowed == 0:
        reason = "the mean of the baseline is 0, and so is any share of it: give an absolute margin"
        return Decision(Verdict.INCONCLUSIVE, reason, effect, margin=allowed)
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = t_interval(slack, 2 * level - 1) if np.isfinite(slack).all() else (math.nan, math.nan)
        spread = float(slack.std(ddof=1))
    if not (math.isfinite(low) and math.isfinite(high)):
        return Decision(Verdict.INCONCLUSIVE, "the values are too large for an interval", effect, margin=allowed)
    needed = seeds_to_pass(spread, allowed, level)
    numbers = effect, low - allowed, high - allowed, allowed, needed
    if low > TIE * allowed:
        return Decision(Verdict.OK, "", *numbers)
    if high < -TIE * allowed:
        return Decision(Verdict.REGRESSED, "", *numbers)
    seeds = f"more than {MOST_SEEDS}" if needed is None else needed
    reason = f"the bounds hold -margin; {seeds} seeds pass with probability {POWER:g} where there is no difference"
    return Decision(Verdict.INCONCLUSIVE, reason, *numbers)


def pass_probability(n: int, effect: float, spread: float, margin: float, level: float = 0.95) -> float:
    """Probability that n pairs are judged ok, by the noncentral t distribution.

    Args:
        n: pairs, at least 2.
        effect: true mean difference, positive where the candidate is better.
        spread: standard deviation of the differences between seeds, above 0.
        margin: what may be lost.
        level: of the one-sided bound.
    """
    noncentrality = (effect + margin) / spread * math.sqrt(n)
    return float(stats.nct.sf(stats.t.ppf(level, n - 1), n - 1, noncentrality))


def seeds_to_pass(spread: float, margin: float, level: float = 0.95) -> int | None:
    """Fewest pairs with which a candidate without a difference passes with probability ``POWER``; None if too many."""
    if spread == 0:
        return 2
    low, high = 1, MOST_SEEDS
    if not pass_probability(high, 0.0, spread, margin, level) >= POWER:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if pass_probability(middle, 0.0, spread, margin, level) >= POWER else (middle, high)
    return high
