import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.kmeans import _lloyd, _reassign, kmeans_labels


def by_faiss(rows, clusters, seed):
    """What mauve-text does."""
    kmeans = faiss.Kmeans(
        rows.shape[1], clusters, niter=500, nredo=5, update_index=True, seed=seed, min_points_per_centroid=1
    )
    kmeans.train(rows)
    return kmeans.index.search(rows, 1)[1][:, 0]


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(30, 600),
    width=st.integers(1, 40),
    share=st.floats(0.02, 0.4),
    unit=st.booleans(),
    seed=st.integers(0, 2**31 - 1),
)
def test_labels_equal_those_of_faiss(n, width, share, unit, seed):
    rows = np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)
    if unit:
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    clusters = max(2, int(share * n))
    assert np.array_equal(kmeans_labels(rows, clusters, seed), by_faiss(rows, clusters, seed))


@pytest.mark.parametrize("seed", range(5))
def test_large_sets_are_sampled_as_by_faiss(seed):
    rows = np.random.default_rng(seed).normal(size=(1500, 6)).astype(np.float32)
    assert np.array_equal(kmeans_labels(rows, 3, seed), by_faiss(rows, 3, seed))


@pytest.mark.parametrize("seed", range(5))
def test_equal_rows_leave_clusters_empty_which_faiss_fills(seed, capfd):
    rows = np.random.default_rng(seed).normal(size=(90, 4)).astype(np.float32)
    rows[:60] = rows[0]
    assert _lloyd(rows, rows[[0, 1, 70]]) is None
    expected = by_faiss(rows, 12, seed)
    capfd.readouterr()
    assert np.array_equal(kmeans_labels(rows, 12, seed), expected)
    assert capfd.readouterr() == ("", "")


def test_as_many_clusters_as_rows():
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    assert sorted(kmeans_labels(rows, 20, 0)) == list(range(20))


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), moving=st.integers(1, 9), step=st.sampled_from([0.01, 0.3, 3.0]))
def test_moved_centroids_are_compared_as_by_brute_force(seed, moving, step):
    rng = np.random.default_rng(seed)
    rows, before = rng.normal(size=(80, 3)).astype(np.float32), rng.normal(size=(9, 3)).astype(np.float32)
    moved = rng.permutation(9) < moving
    after = np.where(moved[:, None], before + step * rng.normal(size=(9, 3)), before).astype(np.float32)

    def nearest(centroids):
        squares = ((rows[:, None].astype(np.float64) - centroids) ** 2).sum(-1)
        return squares.min(1).astype(np.float32), squares.argmin(1)

    found, labels = _reassign(rows, after, *nearest(before), moved)
    expected, expected_labels = nearest(after)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.array_equal(labels, expected_labels)
