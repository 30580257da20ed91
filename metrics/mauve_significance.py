"""Whether a difference in MAUVE is more than noise of sampling: tests by permutation of labels.

The clusters of all rows are fixed and only what a row is called is permuted, which is exact: where the texts have one
distribution, p is at most a with probability at most a. A bootstrap of rows is not: copies of rows move histograms
apart, so that its interval need not even hold the score. These tests are over texts of one trained policy; whether a
trainer is better is a question over training seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metrics.base import MetricError
from metrics.clustering import JointClustering
from metrics.histograms import Floats, check_scaling, mauve_areas
from metrics.kmeans import Labels

CHUNK_ELEMENTS = 2**22
ROUNDING = 1e-12
"""Statistics that differ by less are equal: permutations of one histogram must count as ties."""


@dataclass(frozen=True)
class PermutationTest:
    """Outcome of a test.

    Attributes:
        statistic: MAUVE of the system, or MAUVE of the first system less that of the second; mean over clusterings.
        p_value: in ``[1 / (permutations + 1), 1]``.
        permutations: number of random permutations.
    """

    statistic: float
    p_value: float
    permutations: int


def against_reference(
    clustering: JointClustering, system: str, *, scaling: float = 5.0, permutations: int = 999, seed: int = 0
) -> PermutationTest:
    """Test whether a system's texts have the distribution of the references: is its MAUVE lower than chance makes it?

    Under the hypothesis any n of the 2n rows could have been the system's.

    Args:
        clustering: of the system and the references, and maybe others.
        system: name of the system.
        scaling: the constant c of the divergence curve.
        permutations: number of random permutations.
        seed: seed of the permutations.

    Raises:
        MetricError: if there is no such system, or the scaling or number of permutations is out of range.
    """
    labels = np.hstack([clustering.reference, _labels(clustering, system)])
    labels = labels[:, np.lexsort(labels)]  # so that the order of rows does not decide what is drawn
    pooled, n = clustering.counts(labels), clustering.reference.shape[1]

    def statistic(p: Labels) -> Floats:
        scores: Floats = mauve_areas(p, pooled - p, scaling).mean(-1)
        return scores

    def permuted(rng: np.random.Generator) -> Labels:
        return clustering.counts(labels[:, rng.permutation(2 * n)[:n]])

    observed = float(statistic(clustering.counts(clustering.reference)))
    null = _null(permuted, statistic, scaling, permutations, seed)
    return PermutationTest(observed, _share(null <= observed + ROUNDING), permutations)


def between_systems(
    clustering: JointClustering,
    first: str,
    second: str,
    *,
    scaling: float = 5.0,
    permutations: int = 999,
    seed: int = 0,
) -> PermutationTest:
    """Test whether two systems have the same distribution of texts given the prompt, by the difference of their MAUVE.

    Row i of both must have been written for the same prompt. Under the hypothesis the two texts of a prompt could
    have been exchanged. Two-sided.

    Args:
        clustering: of both systems and the references, and maybe others.
        first: name of a system.
        second: name of another.
        scaling: the constant c of the divergence curve.
        permutations: number of random permutations.
        seed: seed of the permutations.

    Raises:
        MetricError: if there is no such system, or the scaling or number of permutations is out of range.
    """
    a, b = _labels(clustering, first), _labels(clustering, second)
    expected, pooled = clustering.counts(clustering.reference), clustering.counts(np.hstack([a, b]))

    def statistic(q: Labels) -> Floats:
        ours, theirs = mauve_areas(expected, q, scaling), mauve_areas(expected, pooled - q, scaling)
        differences: Floats = (ours - theirs).mean(-1)
        return differences

    def permuted(rng: np.random.Generator) -> Labels:
        return clustering.counts(np.where(rng.random(a.shape[1]) < 0.5, a, b))

    observed = float(statistic(clustering.counts(a)))
    null = _null(permuted, statistic, scaling, permutations, seed)
    return PermutationTest(observed, _share(np.abs(null) >= abs(observed) - ROUNDING), permutations)


def _null(
    permuted: Callable[[np.random.Generator], Labels],
    statistic: Callable[[Labels], Floats],
    scaling: float,
    permutations: int,
    seed: int,
) -> Floats:
    """Statistics of permutations, shape ``(permutations,)``."""
    check_scaling(scaling)
    if permutations < 1:
        raise MetricError(f"a permutation test needs at least 1 permutation, got {permutations}")
    rng = np.random.default_rng(seed)
    chunks, left = [], permutations
    while left:
        histograms = [permuted(rng)]
        size = min(left, max(1, CHUNK_ELEMENTS // histograms[0].size))
        histograms += [permuted(rng) for _ in range(size - 1)]
        chunks.append(statistic(np.array(histograms)))
        left -= size
    return np.concatenate(chunks)


def _share(extreme: NDArray[np.bool_]) -> float:
    """The p-value: the observed labels are one of the permutations."""
    return (1 + int(extreme.sum())) / (1 + len(extreme))


def _labels(clustering: JointClustering, system: str) -> Labels:
    if system not in clustering.systems:
        raise MetricError(f"there is no system {system!r} in this clustering, only {sorted(clustering.systems)}")
    return clustering.systems[system]
