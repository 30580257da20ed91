"""Joint clustering of the features of several sets of texts: what MAUVE's histograms are counted from.

The steps are those of Pillutla et al. 2021 (arXiv 2102.01454, section 3): rows of length 1, principal components up to
90 % of the variance, k-means. Sets that are compared are clustered together, once, so that all share their clusters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from metrics.kmeans import Labels, Rows, kmeans_labels
from metrics.mauve_inputs import Features, MauveInputs

EXPLAINED_VARIANCE = 0.9


@dataclass(frozen=True)
class JointClustering:
    """Clusters of the rows of systems and real texts, made together.

    Attributes:
        systems: by name, the clusters of the rows, shape ``(number of seeds, n)``, in the order of the inputs.
        reference: likewise.
        real: likewise, of further real texts; None where there are none.
        clusters: number of clusters k.
    """

    systems: Mapping[str, Labels]
    reference: Labels
    real: Labels | None
    clusters: int

    def counts(self, labels: Labels) -> Labels:
        """Rows per cluster, from clusters of shape ``(number of seeds, n)`` to shape ``(number of seeds, k)``."""
        return np.array([np.bincount(row, minlength=self.clusters) for row in labels])


def joint_clustering(inputs: MauveInputs) -> JointClustering:
    """Cluster all systems, references and further real texts together, once per seed.

    Neither the order of rows nor that of the systems matters: k-means starts from rows by their position, so both
    are first put in an order of their own. The references come last, as in mauve-text.
    """
    sets = [*inputs.systems.values(), *([] if inputs.real is None else [inputs.real]), inputs.reference]
    orders = [canonical_order(features) for features in sets]
    arranged = [features[order] for features, order in zip(sets, orders, strict=True)]
    last = len(sets) - 1
    places = [*sorted(range(last), key=lambda place: arranged[place].tobytes()), last]
    rows = principal_components(np.vstack([arranged[place] for place in places]))
    found = np.stack([kmeans_labels(rows, inputs.clusters, seed + 2) for seed in inputs.seeds])
    labels = [np.empty((len(found), inputs.n), np.int64) for _ in sets]
    for place, part in zip(places, np.split(found, len(sets), axis=1), strict=True):
        labels[place][:, orders[place]] = part
    systems = dict(zip(inputs.systems, labels, strict=False))
    return JointClustering(systems, labels[-1], None if inputs.real is None else labels[-2], inputs.clusters)


def canonical_order(features: Features) -> NDArray[np.intp]:
    """The order that sorts rows by their bytes, shape ``(n,)``: the same for every arrangement of the same rows."""
    rows = np.ascontiguousarray(features)
    return np.argsort(rows.view(f"V{rows.itemsize * rows.shape[1]}")[:, 0], kind="stable")


def moderate(features: Features) -> Features:
    """Rows times powers of two, so that squares neither overflow nor vanish; bits of the mantissa stay.

    Args:
        features: shape ``(n, d)``, finite.

    Returns:
        Likewise, the largest absolute value of each row in [1/2, 1), or 0.
    """
    exponents = np.frexp(np.abs(features).max(1))[1]
    scaled: Features = np.ldexp(features, -exponents[:, None])
    return scaled


def principal_components(features: Features) -> Rows:
    """Rows scaled to length 1, on their leading principal components up to 90 % of the variance.

    Args:
        features: shape ``(n, d)``, finite.

    Returns:
        Shape ``(n, m)`` with ``1 <= m <= d``.
    """
    unit = normalize(moderate(features))
    if not np.ptp(unit, axis=0).any():
        return np.zeros((len(unit), 1), np.float32)
    pca = PCA(svd_solver="covariance_eigh").fit(unit)
    # Added up in the precision of the features, as in mauve-text: near 0.9 it decides which component is the last.
    kept = int(np.argmax(np.cumsum(pca.explained_variance_ratio_) >= EXPLAINED_VARIANCE)) + 1
    basis = pca.components_[:kept].T
    components: Rows = (unit @ basis - pca.mean_ @ basis).astype(np.float32)
    return components
