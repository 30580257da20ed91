import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from metrics.clustering import canonical_order, joint_clustering, moderate, principal_components
from metrics.mauve_inputs import mauve_inputs


def features(seed, n=60, width=10, shift=0.0, dtype=np.float32):
    return np.random.default_rng(seed).normal(shift, 1, size=(n, width)).astype(dtype)


@given(st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float64]))
def test_canonical_order_is_the_same_for_any_arrangement(seed, dtype):
    rng = np.random.default_rng(seed)
    rows = rng.integers(-2, 2, size=(12, 2)).astype(dtype)
    shuffled = rows[rng.permutation(12)]
    assert sorted(canonical_order(rows)) == list(range(12))
    assert np.array_equal(rows[canonical_order(rows)], shuffled[canonical_order(shuffled)])


@pytest.mark.parametrize(("n", "width"), [(200, 20), (40, 100)])
def test_principal_components_equal_a_full_decomposition(n, width):
    rows = features(0, n, width, shift=0.5, dtype=np.float64) * np.geomspace(1, 0.05, width)
    pca = PCA(svd_solver="full").fit(normalize(rows))
    kept = int(np.searchsorted(np.cumsum(pca.explained_variance_ratio_), 0.9)) + 1
    found = principal_components(rows)
    assert found.shape == (n, kept)
    assert found.dtype == np.float32
    assert kept < width
    np.testing.assert_allclose(found, pca.transform(normalize(rows))[:, :kept], atol=1e-6)
    scales = np.random.default_rng(1).uniform(0.1, 10, size=(n, 1))
    np.testing.assert_allclose(principal_components(scales * rows), found, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_rows_that_are_all_equal_have_nothing_to_tell_them_apart(value):
    assert not principal_components(np.full((9, 4), value, np.float32)).any()


def test_neither_rows_nor_order_and_names_of_systems_matter():
    a, b, reference, real = (features(seed, shift=0.2 * seed) for seed in range(4))
    first = joint_clustering(mauve_inputs({"a": a, "b": b}, reference, real=real, clusterings=2))
    order = np.random.default_rng(9).permutation(60)
    second = joint_clustering(
        mauve_inputs({"x": b[order], "y": a}, reference[order[::-1]], real=real[order], clusterings=2)
    )
    assert np.array_equal(second.systems["x"], first.systems["b"][:, order])
    assert np.array_equal(second.systems["y"], first.systems["a"])
    assert np.array_equal(second.reference, first.reference[:, order[::-1]])
    assert first.real is not None
    assert second.real is not None
    assert np.array_equal(second.real, first.real[:, order])
    assert not np.array_equal(first.reference[0], first.reference[1])


def test_equal_rows_of_different_sets_share_their_cluster():
    a, reference = features(0), features(1)
    clusters = joint_clustering(mauve_inputs({"a": a, "again": a, "other": features(2)}, reference, real=a))
    assert np.array_equal(clusters.systems["a"], clusters.systems["again"])
    assert np.array_equal(clusters.systems["a"], clusters.real)
    counts = clusters.counts(clusters.reference)
    assert counts.shape == (5, 6)
    assert (counts.sum(1) == 60).all()
    assert counts[3].tolist() == [int((clusters.reference[3] == cluster).sum()) for cluster in range(6)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moderate_rows_keep_every_bit_of_their_mantissa(dtype):
    rows = np.array([[3.0, -0.25], [0.0, 0.0], [1e-30, -7e-31], [2.0**100, 1.0]], dtype)
    found = moderate(rows)
    assert found.dtype == dtype
    assert found.tolist()[:2] == [[0.75, -0.0625], [0.0, 0.0]]
    assert ((np.abs(found[[0, 2, 3]]).max(1) >= 0.5) & (np.abs(found[[0, 2, 3]]).max(1) < 1)).all()
    assert np.array_equal(found[2] / found[2, 0], rows[2] / rows[2, 0])
    assert (found[3] == [0.5, 2.0**-101]).all()


@pytest.mark.parametrize(
    ("power", "dtype"), [(90, np.float32), (-90, np.float32), (700, np.float64), (-700, np.float64)]
)
def test_components_do_not_depend_on_scale_where_squares_overflow_or_vanish(power, dtype):
    rows = features(0, dtype=dtype)
    assert np.array_equal(principal_components(np.ldexp(rows, power)), principal_components(rows))
