"""MAUVE of two histograms, and the frontier integral.

MAUVE (Pillutla et al. 2021, arXiv 2102.01454) is the area under the curve of
``(exp(-c KL(Q | R)), exp(-c KL(P | R)))`` over mixtures ``R = w P + (1 - w) Q``. The reference code sorts the
points of the curve by one coordinate, which breaks where points are tied: it gives 0.75 for P == Q. Here the
curve is integrated in the order of w, which is the same area wherever no points are tied.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr

from metrics.base import MetricError

GRID = np.linspace(1e-6, 1 - 1e-6, 25)
"""Mixture weights of the curve, those of mauve-text."""


@dataclass(frozen=True)
class MauveScore:
    """Closeness of two histograms.

    Attributes:
        mauve: area under the divergence curve, in [0, 1], higher is closer.
        mauve_star: the same with counts smoothed by 1/2 (Krichevsky-Trofimov; Pillutla et al. 2023, arXiv
            2212.14578); None for histograms that are not counts.
        frontier_integral: in [0, 1], lower is closer (Liu et al. 2021, arXiv 2106.07898).
    """

    mauve: float
    mauve_star: float | None
    frontier_integral: float


def mauve_from_histograms(p: ArrayLike, q: ArrayLike, scaling: float = 5.0) -> MauveScore:
    """Score two histograms over the same bins.

    Args:
        p: reference, shape ``(k,)``: counts (an integer array) or probabilities; scaled to sum 1.
        q: generations, likewise.
        scaling: the constant c of the curve.

    Returns:
        The score; ``mauve_star`` only where both histograms are integer counts.

    Raises:
        MetricError: if the shapes differ, a bin is negative or not finite, or a histogram is empty.
    """
    if not 0 < scaling < np.inf:
        raise MetricError(f"MAUVE scaling must be positive, got {scaling}")
    p, q = np.asarray(p), np.asarray(q)
    if p.ndim != 1 or p.shape != q.shape:
        raise MetricError(f"MAUVE needs two histograms over the same bins, got shapes {p.shape} and {q.shape}")
    counted = all(np.issubdtype(histogram.dtype, np.integer) for histogram in (p, q))
    first, second = _probabilities(p), _probabilities(q)
    return MauveScore(
        mauve=_area(first, second, scaling),
        mauve_star=_area(_probabilities(p + 0.5), _probabilities(q + 0.5), scaling) if counted else None,
        frontier_integral=_frontier_integral(first, second),
    )


def _probabilities(histogram: NDArray[np.generic]) -> NDArray[np.float64]:
    masses = histogram.astype(np.float64)
    if not np.isfinite(masses).all() or (masses < 0).any() or masses.sum() <= 0:
        raise MetricError("a MAUVE histogram must be finite, without negative bins, and not empty")
    probabilities: NDArray[np.float64] = masses / masses.sum()
    return probabilities


def _area(p: NDArray[np.float64], q: NDArray[np.float64], scaling: float) -> float:
    mixtures = GRID[:, None] * p + (1 - GRID[:, None]) * q
    x = np.r_[1, np.exp(-scaling * rel_entr(q, mixtures).sum(1)), 0]
    y = np.r_[0, np.exp(-scaling * rel_entr(p, mixtures).sum(1)), 1]
    return min(1.0, float(np.trapezoid(x, y)))


def _frontier_integral(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    apart = np.abs(p - q) > 1e-8
    p, q = p[apart], q[apart]
    both = (p > 0) & (q > 0)
    cross = np.zeros_like(p)
    cross[both] = p[both] * q[both] * np.log(p[both] / q[both]) / (p[both] - q[both])
    return float(2 * ((p + q) / 4 - cross / 2).sum())
