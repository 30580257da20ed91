"""faiss's k-means with its result and less than half of its work.

``faiss.Kmeans`` compares every row with every centroid in every iteration. Most centroids stand still after a few
iterations, and a row whose own centroid has not moved away need not look at those again. Distances come from faiss,
sums run in the order in which faiss runs them, and the random starts are its own. So the result is the same, unless a
row is as near to two centroids as rounding can tell.
"""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Rows = NDArray[np.float32]
Labels = NDArray[np.int64]

RESTARTS = 5
ITERATIONS = 500
ROWS_PER_CLUSTER = 256
"""faiss trains on a random subset of this many rows per cluster where there are more."""
RESTART_STRIDE = 15486557
"""faiss adds this to its seed from one restart to the next."""


def kmeans_labels(rows: Rows, clusters: int, seed: int) -> Labels:
    """Cluster of each row: the best of 5 runs of Lloyd's algorithm by its objective, as ``faiss.Kmeans`` has it.

    Args:
        rows: shape ``(n, m)``, finite.
        clusters: number of clusters k, at most n.
        seed: faiss's seed, not negative.

    Returns:
        Shape ``(n,)``, each label in ``[0, k)``.
    """
    rows = np.ascontiguousarray(rows)
    sample = rows
    if len(rows) > ROWS_PER_CLUSTER * clusters:
        sample = rows[_permutation(len(rows), seed)[: ROWS_PER_CLUSTER * clusters]]
    best: Rows | None = None
    lowest = np.inf
    for restart in range(RESTARTS):
        start = sample[_permutation(len(sample), seed + 1 + restart * RESTART_STRIDE)[:clusters]]
        found = _lloyd(sample, start)
        if found is None:
            best = _faiss_centroids(rows, clusters, seed)
            break
        if found[1] < lowest:
            best, lowest = found
    assert best is not None
    return _nearest(rows, best)[1]


def _lloyd(rows: Rows, centroids: Rows) -> tuple[Rows, float] | None:
    """Centroids and objective where it stops falling; None if a cluster loses all its rows."""
    distances, labels = _nearest(rows, centroids)
    moving = np.ones(len(centroids), dtype=bool)
    objective, before = np.inf, np.inf
    for _ in range(ITERATIONS):
        # The objective of the centroids before this update, added up in faiss's order and precision.
        objective = float(np.cumsum(distances, dtype=np.float32)[-1])
        counts = np.bincount(labels, minlength=len(centroids))
        if not counts.all():
            return None
        if not moving.any():
            break
        _move(rows, labels, counts, moving, centroids)
        if objective == before:
            break
        before = objective
        updated, nearest = _reassign(rows, centroids, distances, labels, moving)
        changed = nearest != labels
        moving = np.zeros(len(centroids), dtype=bool)
        moving[labels[changed]] = moving[nearest[changed]] = True
        distances, labels = updated, nearest
    return centroids, objective


def _move(rows: Rows, labels: Labels, counts: Labels, moving: NDArray[np.bool_], centroids: Rows) -> None:
    """Put the moving centroids at the means of their rows."""
    members = np.flatnonzero(moving[labels])
    members = members[np.argsort(labels[members], kind="stable")]
    sizes = counts[moving]
    ones = np.ones(len(members), np.float32)
    sums = csr_matrix((ones, members, np.r_[0, np.cumsum(sizes)]), shape=(len(sizes), len(rows))) @ rows
    centroids[moving] = sums * (np.float32(1) / sizes.astype(np.float32))[:, None]


def _reassign(
    rows: Rows, centroids: Rows, distances: Rows, labels: Labels, moved: NDArray[np.bool_]
) -> tuple[Rows, Labels]:
    """Nearest centroids of all rows after some have moved, from the nearest ones before.

    A centroid that has not moved was no nearer than the row's own, so it can only win where the row's own has
    moved and nothing that moved is as near as the row's own was.
    """
    to_moved, nearest_moved = _nearest(rows, centroids[moved])
    nearest_moved = np.flatnonzero(moved)[nearest_moved]
    own_moved = moved[labels]
    nearer = (to_moved < distances) | ((to_moved == distances) & (nearest_moved < labels) & ~own_moved)
    updated, nearest = np.where(nearer, to_moved, distances), np.where(nearer, nearest_moved, labels)
    lost = np.flatnonzero(own_moved & ~nearer)
    if not len(lost):
        return updated, nearest
    updated[lost], nearest[lost] = to_moved[lost], nearest_moved[lost]
    if not moved.all():
        to_still, nearest_still = _nearest(rows[lost], centroids[~moved])
        nearest_still = np.flatnonzero(~moved)[nearest_still]
        back = (to_still < to_moved[lost]) | ((to_still == to_moved[lost]) & (nearest_still < nearest_moved[lost]))
        updated[lost[back]], nearest[lost[back]] = to_still[back], nearest_still[back]
    return updated, nearest


def _nearest(rows: Rows, centroids: Rows) -> tuple[Rows, Labels]:
    distances, labels = faiss.knn(rows, centroids, 1)
    return distances[:, 0], labels[:, 0]


def _permutation(size: int, seed: int) -> NDArray[np.int32]:
    order = np.empty(size, np.int32)
    faiss.rand_perm(faiss.swig_ptr(order), size, seed)
    return order


def _faiss_centroids(rows: Rows, clusters: int, seed: int) -> Rows:
    """By faiss itself, which splits large clusters in two to fill empty ones."""
    kmeans = faiss.Kmeans(
        rows.shape[1],
        clusters,
        niter=ITERATIONS,
        nredo=RESTARTS,
        update_index=True,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=ROWS_PER_CLUSTER,
    )
    kmeans.train(rows)
    centroids: Rows = kmeans.centroids
    return centroids
