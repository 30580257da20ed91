"""MAUVE of the features of any number of systems, scored under shared clusterings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from metrics.base import MetricError
from metrics.clustering import JointClustering, joint_clustering
from metrics.histograms import Floats, MauveScore, check_scaling, mauve_from_histograms
from metrics.mauve_inputs import Clusters, MauveInputs, mauve_inputs
from metrics.mauve_text import mauve_text_counts

Backend = Literal["seqmatch", "mauve-text"]
Scores = tuple[MauveScore, ...]


@dataclass(frozen=True)
class MauveResult:
    """MAUVE of one system, with all that it is comparable by.

    Attributes:
        scores: one per clustering.
        ceiling: those of further real texts against the same references; None where there are none.
        n: texts of the system, of the references and of the further real texts.
        clusters: number of clusters k.
        seeds: seeds of the clusterings, as mauve-text counts them.
        tokens: visible length to which texts were cut before their features were taken; None if unknown.
        backend: what made the clusters.
    """

    scores: Scores
    ceiling: Scores | None
    n: int
    clusters: int
    seeds: tuple[int, ...]
    tokens: int | None
    backend: Backend

    @property
    def mauve(self) -> float:
        """Mean MAUVE over the clusterings, in [0, 1]."""
        return float(np.mean([score.mauve for score in self.scores]))

    @property
    def mauve_star(self) -> float:
        """Mean smoothed MAUVE over the clusterings, in [0, 1]."""
        return float(np.mean([score.mauve_star for score in self.scores if score.mauve_star is not None]))

    @property
    def frontier_integral(self) -> float:
        """Mean frontier integral over the clusterings, in [0, 1], lower is closer."""
        return float(np.mean([score.frontier_integral for score in self.scores]))

    @property
    def mauve_ceiling(self) -> float | None:
        """Mean MAUVE of real texts against real texts at the same n, k, length and seeds."""
        return None if self.ceiling is None else float(np.mean([score.mauve for score in self.ceiling]))

    @property
    def curve(self) -> Floats:
        """Mean divergence curve over the clusterings, shape ``(27, 2)``, from ``(1, 0)`` to ``(0, 1)``."""
        return _mean_curve(self.scores)

    @property
    def ceiling_curve(self) -> Floats | None:
        """The same of real texts against real texts."""
        return None if self.ceiling is None else _mean_curve(self.ceiling)


def _mean_curve(scores: Scores) -> Floats:
    mean: Floats = np.mean([score.curve for score in scores], axis=0)
    return mean


def mauve_from_features(
    systems: Mapping[str, ArrayLike],
    reference: ArrayLike,
    *,
    real: ArrayLike | None = None,
    clusters: Clusters = "auto",
    clusterings: int = 5,
    seed: int = 0,
    scaling: float = 5.0,
    tokens: int | None = None,
    backend: Backend = "seqmatch",
) -> dict[str, MauveResult]:
    """Score systems against the same references (Pillutla et al. 2021, arXiv 2102.01454).

    Results compare only at equal n, k, length and features, and human text against human text stays below 1: give
    ``real`` to have that ceiling beside every score. The order of rows changes nothing.

    Args:
        systems: by name, features of shape ``(n, d)``.
        reference: features of the reference texts, same shape.
        real: features of n further real texts, same shape: the ceiling.
        clusters: number of clusters k; "auto": a tenth of n.
        clusterings: number of k-means seeds to average over; one moves the score by about 0.01.
        seed: decides the seeds of the clusterings.
        scaling: the constant c of the divergence curve.
        tokens: visible length to which the texts were cut, noted in the results.
        backend: "seqmatch" clusters all sets together; "mauve-text" each with the references alone, by the
            reference implementation. For one system and no ceiling both give the same clusters.

    Returns:
        By name, the result of each system.

    Raises:
        MetricError: if the features cannot be compared (see ``mauve_inputs``), the scaling is not positive, or the
            backend is unknown or not installed.
    """
    inputs = mauve_inputs(systems, reference, real=real, clusters=clusters, clusterings=clusterings, seed=seed)
    return score_inputs(inputs, scaling=scaling, tokens=tokens, backend=backend)[0]


def score_inputs(
    inputs: MauveInputs, *, scaling: float = 5.0, tokens: int | None = None, backend: Backend = "seqmatch"
) -> tuple[dict[str, MauveResult], JointClustering | None]:
    """Score features that have been checked, see ``mauve_from_features``.

    Returns:
        By name, the result of each system; and the clustering that all share, None for "mauve-text", which makes one
        for each system.
    """
    check_scaling(scaling)
    clustering = None
    if backend == "seqmatch":
        clustering = joint_clustering(inputs)
        scores = _joint_scores(clustering, scaling)
    elif backend == "mauve-text":
        scores = _separate_scores(inputs, scaling)
    else:
        raise MetricError(f"MAUVE backend must be one of {get_args(Backend)}, got {backend!r}")
    ceiling = None if inputs.real is None else scores.pop()
    results = {
        name: MauveResult(score, ceiling, inputs.n, inputs.clusters, inputs.seeds, tokens, backend)
        for name, score in zip(inputs.systems, scores, strict=True)
    }
    return results, clustering


def _joint_scores(joint: JointClustering, scaling: float) -> list[Scores]:
    """Scores of all systems, then of the further real texts if there are any."""
    expected = joint.counts(joint.reference)
    labels = [*joint.systems.values(), *([] if joint.real is None else [joint.real])]
    pairs = (zip(expected, joint.counts(rows), strict=True) for rows in labels)
    return [tuple(mauve_from_histograms(p, q, scaling) for p, q in pair) for pair in pairs]


def _separate_scores(inputs: MauveInputs, scaling: float) -> list[Scores]:
    sets = [*inputs.systems.values(), *([] if inputs.real is None else [inputs.real])]
    return [
        tuple(
            mauve_from_histograms(*mauve_text_counts(inputs.reference, features, inputs.clusters, seed), scaling)
            for seed in inputs.seeds
        )
        for features in sets
    ]
