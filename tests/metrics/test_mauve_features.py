import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.base import MetricError
from metrics.clustering import canonical_order
from metrics.mauve_features import mauve_from_features


def features(seed, n=60, width=10, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, size=(n, width)).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(50, 150),
    width=st.integers(2, 80),
    shift=st.floats(0, 1),
    spread=st.floats(0.5, 2),
    double=st.booleans(),
    seed=st.integers(0, 2**31 - 1),
)
def test_equals_mauve_text(n, width, shift, spread, double, seed):
    from mauve import compute_mauve

    rng = np.random.default_rng(seed)
    kind = np.float64 if double else np.float32
    p, q = rng.normal(size=(n, width)).astype(kind), rng.normal(shift, spread, size=(n, width)).astype(kind)
    result = mauve_from_features({"system": q}, p, seed=seed, clusterings=2)["system"]
    p, q = p[canonical_order(p)], q[canonical_order(q)]
    for score, draw in zip(result.scores, result.seeds, strict=True):
        theirs = compute_mauve(p_features=p, q_features=q, seed=draw)
        assert theirs.num_buckets == result.clusters
        if np.array_equal(theirs.p_hist, theirs.q_hist):
            assert score.mauve == 1
            continue
        assert score.mauve == pytest.approx(theirs.mauve, abs=1e-6)
        assert score.mauve_star == pytest.approx(theirs.mauve_star, abs=1e-6)
        assert score.frontier_integral == pytest.approx(theirs.frontier_integral, abs=1e-6)
        np.testing.assert_allclose(score.curve, theirs.divergence_curve, atol=1e-6)


def test_backends_agree_on_one_system():
    p, q = features(0), features(1, shift=0.4)
    ours, theirs = (
        mauve_from_features({"system": q}, p, backend=backend)["system"] for backend in ("seqmatch", "mauve-text")
    )
    assert ours.mauve == pytest.approx(theirs.mauve, abs=1e-6)
    assert ours.mauve_star == pytest.approx(theirs.mauve_star, abs=1e-6)
    assert ours.frontier_integral == pytest.approx(theirs.frontier_integral, abs=1e-6)
    assert (ours.backend, theirs.backend) == ("seqmatch", "mauve-text")
    assert ours.seeds == theirs.seeds


@pytest.mark.parametrize("backend", ["seqmatch", "mauve-text"])
@pytest.mark.parametrize("p", [features(0), np.ones((50, 4), np.float32), np.zeros((50, 4), np.float32)])
def test_equal_features_score_one(p, backend):
    result = mauve_from_features({"system": p[::-1]}, p, backend=backend)["system"]
    assert result.mauve == pytest.approx(1, abs=1e-12)
    assert result.mauve_star == pytest.approx(1, abs=1e-12)
    assert result.frontier_integral == 0


@pytest.mark.parametrize("backend", ["seqmatch", "mauve-text"])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_far_clusters_have_the_known_answer_in_any_order_and_at_any_scale(backend, seed):
    rng = np.random.default_rng(seed)
    p, q = (np.repeat(np.eye(3), counts, axis=0) for counts in ([700, 200, 100], [100, 300, 600]))
    p, q = (rng.uniform(0.1, 10, size=(1000, 1)) * rng.permutation(rows) for rows in (p, q))
    result = mauve_from_features({"system": q}, p, clusters=3, clusterings=1, seed=seed, backend=backend)["system"]
    assert result.mauve == pytest.approx(0.26298917731813637, abs=1e-12)
    assert result.mauve_star == pytest.approx(0.264567603986, abs=1e-12)
    assert result.frontier_integral == pytest.approx(0.3146869481, abs=1e-10)


@pytest.mark.parametrize("backend", ["seqmatch", "mauve-text"])
def test_order_of_rows_changes_nothing(backend):
    p, q, real = features(0), features(1, shift=0.4), features(2)
    order = np.random.default_rng(3).permutation(60)
    one = mauve_from_features({"system": q}, p, real=real, backend=backend)["system"]
    other = mauve_from_features({"system": q[order]}, p[::-1], real=real[order], backend=backend)["system"]
    assert one == other


@pytest.mark.parametrize("backend", ["seqmatch", "mauve-text"])
def test_half_precision_is_raised_before_squares_overflow(backend):
    """Rows of 800 numbers near 10 have squares that sum to more than float16 holds."""
    p, q = (10 * features(seed, width=800, shift=0.1 * seed).astype(np.float16) for seed in range(2))
    half, single = (
        mauve_from_features({"system": q.astype(kind)}, p.astype(kind), backend=backend)["system"]
        for kind in (np.float16, np.float32)
    )
    assert half == single
    assert half.mauve < 1


@pytest.mark.parametrize("backend", ["seqmatch", "mauve-text"])
@pytest.mark.parametrize("power", [-90, 90])
def test_lengths_whose_squares_single_precision_cannot_hold(backend, power):
    p, q = features(0), features(1, shift=0.4)
    usual, extreme = (
        mauve_from_features({"system": np.ldexp(q, by)}, np.ldexp(p, by), backend=backend)["system"]
        for by in (0, power)
    )
    assert usual == extreme
    assert usual.mauve < 1


def test_byte_order_and_memory_order_change_nothing():
    p, q = features(0), features(1, shift=0.4)
    usual = mauve_from_features({"system": q}, p)["system"]
    for changed in (q.astype(">f4"), np.asfortranarray(q), np.repeat(q, 2, axis=1)[:, ::2]):
        assert mauve_from_features({"system": changed}, p)["system"] == usual


@pytest.mark.parametrize("backend", ["seqmatch", "mauve-text"])
def test_result_says_what_it_is_comparable_by(backend):
    systems = {"a": features(0), "b": features(1, shift=0.8)}
    results = mauve_from_features(
        systems, features(2), real=features(3), clusters=7, clusterings=3, tokens=64, backend=backend
    )
    assert list(results) == ["a", "b"]
    for result in results.values():
        assert (result.n, result.clusters, result.tokens, result.backend) == (60, 7, 64, backend)
        assert len(result.scores) == len(set(result.seeds)) == 3
        assert result.ceiling == results["a"].ceiling
        assert result.mauve == pytest.approx(np.mean([score.mauve for score in result.scores]))
    ceiling = results["a"].mauve_ceiling
    assert ceiling is not None
    assert results["b"].mauve < ceiling < 1
    without = mauve_from_features(systems, features(2), clusters=7, backend=backend)["a"]
    assert (without.ceiling, without.mauve_ceiling, without.tokens) == (None, None, None)


def test_ceiling_is_the_score_that_the_real_texts_have_as_a_system():
    systems = {"a": features(0, shift=0.3), "real": features(3)}
    results = mauve_from_features(systems, features(2), real=features(3))
    assert results["a"].mauve_ceiling == results["real"].mauve


def test_systems_are_clustered_together():
    a, b, p = features(0), features(1, shift=2.0), features(2)
    alone = mauve_from_features({"a": a}, p)["a"]
    assert mauve_from_features({"a": a, "b": b}, p)["a"] != alone
    apart = mauve_from_features({"a": a, "b": b}, p, backend="mauve-text")["a"]
    assert apart.mauve == pytest.approx(alone.mauve, abs=1e-6)


def test_mean_over_clusterings_is_steadier_than_one():
    p, q = features(0, 100), features(1, 100)
    single, several = (
        [mauve_from_features({"q": q}, p, clusterings=count, seed=seed)["q"].mauve for seed in range(6)]
        for count in (1, 8)
    )
    assert 0 < np.std(several) < np.std(single)


def test_auto_is_a_tenth_of_the_texts():
    assert mauve_from_features({"q": features(1, 80)}, features(0, 80))["q"].clusters == 8


def spoiled(value, row=7):
    rows = features(1)
    rows[row, 3] = value
    return rows


@pytest.mark.parametrize(
    ("q", "message"),
    [
        (spoiled(np.nan), r"1 of 60 rows for system 'mine' are not, the first is row 7 with nan: compute them again"),
        (spoiled(-np.inf), r"row 7 with -inf"),
        (features(1, 1), r"at least 50 texts, got 1 for system 'mine': with fewer"),
        (features(1, 0), r"at least 50 texts, got 0"),
        (features(1, 49), r"at least 50 texts, got 49"),
        (features(1, 61), r"equal n, got 61 texts for system 'mine' and 60 references: draw 60 of each"),
        (features(1, 55), r"equal n, got 55 texts for system 'mine' and 60 references: draw 55 of each"),
        (features(1, width=9), r"one model, got 9 per text for system 'mine' and 10 for the references"),
        (features(1)[0], r"one row of floating point features per text.*shape \(10,\) for system 'mine'"),
        (np.ones((60, 10), int), r"array of int64"),
        ([[1.0, 2.0], [1.0]] * 30, r"as many features for every text, and got other numbers for system 'mine'"),
        (np.ones((60, 0), np.float32), r"at least one feature per text"),
    ],
)
@pytest.mark.parametrize("backend", ["seqmatch", "mauve-text"])
def test_bad_features_of_a_system(q, message, backend):
    with pytest.raises(MetricError, match=message):
        mauve_from_features({"good": features(2), "mine": q}, features(0), backend=backend)


@pytest.mark.parametrize(
    ("reference", "real", "message"),
    [
        (spoiled(np.inf), None, "for the references are not, the first is row 7 with inf"),
        (features(0, 1), None, "at least 50 texts, got 1 for the references"),
        (features(0), features(3, 59), "got 59 texts for the further real texts"),
        (features(0), spoiled(np.nan), "for the further real texts are not"),
    ],
)
def test_bad_features_of_real_texts(reference, real, message):
    with pytest.raises(MetricError, match=message):
        mauve_from_features({"mine": features(1)}, reference, real=real)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clusters": 1}, r"1 clusters of 60 \+ 60 texts: choose 2 to 120"),
        ({"clusters": 121}, r"121 clusters of 60 \+ 60 texts"),
        ({"clusters": 5.5}, r"5\.5 clusters of 60 \+ 60 texts"),
        ({"clusters": "many"}, r"many clusters of 60 \+ 60 texts"),
        ({"clusterings": 0}, "clusterings must be at least 1, got 0"),
        ({"scaling": 0.0}, "scaling must be positive"),
        ({"backend": "mauve"}, r"backend must be one of \('seqmatch', 'mauve-text'\), got 'mauve'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(MetricError, match=message):
        mauve_from_features({"mine": features(1)}, features(0), **settings)


def test_no_system():
    with pytest.raises(MetricError, match="at least one system"):
        mauve_from_features({}, features(0))


def test_missing_backend_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mauve", None)
    with pytest.raises(MetricError, match=r"pip install 'seqmatch\[mauve\]'"):
        mauve_from_features({"mine": features(1)}, features(0), backend="mauve-text")


@pytest.mark.parametrize("backend", ["seqmatch", "mauve-text"])
def test_faiss_does_not_write_into_the_terminal(capfd, backend):
    mauve_from_features({"mine": features(1)}, features(0), clusters=30, backend=backend)
    assert capfd.readouterr() == ("", "")
