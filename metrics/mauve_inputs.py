"""What MAUVE compares: features of systems and of real texts, checked, with the number and seeds of clusterings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics.base import MetricError

Features = NDArray[np.floating]
Clusters = int | Literal["auto"]

MINIMUM_N = 50
MINIMUM_REASON = "with fewer, clusters hold so few texts that the noise of sampling hides what systems differ by"


@dataclass(frozen=True)
class MauveInputs:
    """Sets of features that can be compared.

    Attributes:
        systems: by name, features of shape ``(n, d)``, finite.
        reference: features of the reference texts, same shape.
        real: features of further real texts, same shape; None: there are none.
        clusters: number of clusters k.
        seeds: seeds of the clusterings, as mauve-text counts them.
    """

    systems: Mapping[str, Features]
    reference: Features
    real: Features | None
    clusters: int
    seeds: tuple[int, ...]

    @property
    def n(self) -> int:
        """Texts in each set."""
        return len(self.reference)


def mauve_inputs(
    systems: Mapping[str, ArrayLike],
    reference: ArrayLike,
    *,
    real: ArrayLike | None = None,
    clusters: Clusters = "auto",
    clusterings: int = 5,
    seed: int = 0,
) -> MauveInputs:
    """Check what is to be compared.

    Args:
        systems: by name, features of shape ``(n, d)``, at least one system.
        reference: features of the reference texts, same shape.
        real: features of n further real texts, same shape.
        clusters: number of clusters k; "auto": a tenth of n.
        clusterings: number of k-means seeds.
        seed: decides the seeds of the clusterings.

    Raises:
        MetricError: if there is no system, a set has fewer than 50 texts or another shape than the references, a
            feature is not finite, or k or the number of clusterings is out of range.
    """
    if not systems:
        raise MetricError("MAUVE needs the features of at least one system")
    if clusterings < 1:
        raise MetricError(f"MAUVE: clusterings must be at least 1, got {clusterings}")
    expected = _features("the references", reference)
    checked = {name: _features(f"system {name!r}", features, expected) for name, features in systems.items()}
    further = None if real is None else _features("the further real texts", real, expected)
    n = len(expected)
    k = max(2, round(n / 10)) if clusters == "auto" else clusters
    if not isinstance(k, int | np.integer) or not 2 <= k <= 2 * n:
        raise MetricError(f"MAUVE cannot make {k} clusters of {n} + {n} texts: choose 2 to {2 * n}")
    seeds = np.random.SeedSequence(seed).generate_state(clusterings) >> 2
    return MauveInputs(checked, expected, further, k, tuple(map(int, seeds)))


def _features(whose: str, values: ArrayLike, expected: Features | None = None) -> Features:
    try:
        features = np.asarray(values)
    except ValueError as error:
        raise MetricError(f"MAUVE needs as many features for every text, and got other numbers for {whose}") from error
    if features.ndim != 2 or not np.issubdtype(features.dtype, np.floating):
        raise MetricError(
            f"MAUVE needs one row of floating point features per text, got an array of {features.dtype} of shape "
            f"{features.shape} for {whose}"
        )
    # Half precision overflows in sums of squares, and rows are ordered by their bytes.
    features = features.astype(np.promote_types(features.dtype, np.float32), copy=False)
    n, width = features.shape
    if n < MINIMUM_N:
        raise MetricError(f"MAUVE needs at least {MINIMUM_N} texts, got {n} for {whose}: {MINIMUM_REASON}")
    if not width:
        raise MetricError(f"MAUVE needs at least one feature per text, got none for {whose}")
    broken = np.flatnonzero(~np.isfinite(features).all(1))
    if len(broken):
        value = features[broken[0]][~np.isfinite(features[broken[0]])][0]
        raise MetricError(
            f"MAUVE features must be finite, but {len(broken)} of {n} rows for {whose} are not, the first is row "
            f"{broken[0]} with {value}: compute them again in float32, or look at that text"
        )
    if expected is not None and width != expected.shape[1]:
        raise MetricError(
            f"MAUVE needs features of one model, got {width} per text for {whose} and {expected.shape[1]} for the "
            "references"
        )
    if expected is not None and n != len(expected):
        raise MetricError(
            f"MAUVE compares only at equal n, got {n} texts for {whose} and {len(expected)} references: draw "
            f"{min(n, len(expected))} of each"
        )
    return features
