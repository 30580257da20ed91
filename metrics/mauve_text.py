"""The clustering of mauve-text, the reference implementation: one system against the references at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from metrics.base import MetricError
from metrics.clustering import canonical_order, moderate
from metrics.mauve_inputs import Features


def mauve_text_counts(
    reference: Features, system: Features, clusters: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cluster two sets of features by mauve-text, rows in canonical order, and count each set's rows per cluster.

    Args:
        reference: shape ``(n, d)``.
        system: shape ``(m, d)``.
        clusters: number of clusters k, from 2 to ``n + m``.
        seed: seed of PCA and k-means.

    Returns:
        Two arrays of shape ``(k,)``, of sums n and m.

    Raises:
        MetricError: if mauve-text is not installed.
    """
    try:
        from mauve import compute_mauve
    except ImportError as error:
        raise MetricError(f"backend 'mauve-text' needs it: pip install 'seqmatch[mauve]' ({error})") from error
    p_features, q_features = (moderate(features[canonical_order(features)]) for features in (reference, system))
    with _silent_faiss():
        result = compute_mauve(p_features=p_features, q_features=q_features, num_buckets=clusters, seed=seed)
    shares = (result.p_hist, len(reference)), (result.q_hist, len(system))
    p_counts, q_counts = (np.rint(histogram * size).astype(np.int64) for histogram, size in shares)
    return p_counts, q_counts


@contextmanager
def _silent_faiss() -> Iterator[None]:
    """Keep faiss, which warns past Python about few points per cluster, from writing into a progress display."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
