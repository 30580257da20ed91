"""MAUVE of two histograms, and the frontier integral.

MAUVE (Pillutla et al. 2021, arXiv 2102.01454) is the area under the curve of
``(exp(-c KL(Q | R)), exp(-c KL(P | R)))`` over mixtures ``R = w P + (1 - w) Q``. The reference code sorts the
points of the curve by one coordinate, which breaks where points are tied: it gives 0.75 for P == Q. Here the
curve is integrated in the order of w, which is the same area wherever no points are tied.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr

from metrics.base import MetricError

Floats = NDArray[np.float64]

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
        curve: the divergence curve, shape ``(27, 2)``, from ``(1, 0)`` to ``(0, 1)``.
    """

    mauve: float
    mauve_star: float | None
    frontier_integral: float
    curve: Floats = field(repr=False, compare=False)


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
    check_scaling(scaling)
    p, q = np.asarray(p), np.asarray(q)
    if p.ndim != 1 or p.shape != q.shape:
        raise MetricError(f"MAUVE needs two histograms over the same bins, got shapes {p.shape} and {q.shape}")
    counted = all(np.issubdtype(histogram.dtype, np.integer) for histogram in (p, q))
    first, second = _probabilities(p), _probabilities(q)
    curve = _curve(first, second, scaling)
    return MauveScore(
        mauve=float(_area(curve)),
        mauve_star=float(mauve_areas(p + 0.5, q + 0.5, scaling)) if counted else None,
        frontier_integral=_frontier_integral(first, second),
        curve=curve,
    )


def mauve_areas(p: ArrayLike, q: ArrayLike, scaling: float = 5.0) -> Floats:
    """MAUVE of many pairs of histograms at once.

    Args:
        p: references, shape ``(..., k)``: counts or probabilities.
        q: generations, likewise.
        scaling: the constant c of the curve.

    Returns:
        Shape ``(...)``.

    Raises:
        MetricError: if a bin is negative or not finite, or a histogram is empty.
    """
    return _area(_curve(_probabilities(np.asarray(p)), _probabilities(np.asarray(q)), scaling))


def check_scaling(scaling: float) -> None:
    """Raise MetricError unless the constant of the curve is positive and finite."""
    if not 0 < scaling < np.inf:
        raise MetricError(f"MAUVE scaling must be positive, got {scaling}")


def _probabilities(histograms: NDArray[np.generic]) -> Floats:
    masses = histograms.astype(np.float64)
    if not np.isfinite(masses).all() or (masses < 0).any() or (masses.sum(-1) <= 0).any():
        raise MetricError("a MAUVE histogram must be finite, without negative bins, and not empty")
    probabilities: Floats = masses / masses.sum(-1, keepdims=True)
    return probabilities


def _curve(p: Floats, q: Floats, scaling: float) -> Floats:
    points = []
    for weight in GRID:
        mixture = weight * p + (1 - weight) * q
        points.append([rel_entr(q, mixture).sum(-1), rel_entr(p, mixture).sum(-1)])
    inner = np.moveaxis(np.exp(-scaling * np.array(points)), (0, 1), (-2, -1))
    ends = [np.broadcast_to(corner, (*inner.shape[:-2], 1, 2)) for corner in ((1.0, 0.0), (0.0, 1.0))]
    return np.concatenate([ends[0], inner, ends[1]], axis=-2)


def _area(curve: Floats) -> Floats:
    return np.minimum(1.0, np.trapezoid(curve[..., 0], curve[..., 1]))


def _frontier_integral(p: Floats, q: Floats) -> float:
    apart = np.abs(p - q) > 1e-8
    p, q = p[apart], q[apart]
    both = (p > 0) & (q > 0)
    cross = np.zeros_like(p)
    cross[both] = p[both] * q[both] * np.log(p[both] / q[both]) / (p[both] - q[both])
    return float(2 * ((p + q) / 4 - cross / 2).sum())
