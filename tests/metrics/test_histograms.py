import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from metrics.base import MetricError
from metrics.histograms import mauve_areas, mauve_from_histograms

BINS = 6
COUNTS = arrays(np.int64, BINS, elements=st.integers(0, 30)).filter(lambda counts: counts.sum() > 0)


def oracle(p, q, scaling):
    from mauve.compute_mauve import (
        compute_area_under_curve,
        get_divergence_curve_for_multinomials,
        get_fronter_integral,
    )

    x, y = get_divergence_curve_for_multinomials(p, q, np.linspace(1e-6, 1 - 1e-6, 25), scaling).T
    by_x, by_y = np.argsort(x), np.argsort(y)
    area = compute_area_under_curve(x[by_x], y[by_x]) + compute_area_under_curve(y[by_y], x[by_y])
    return area / 2, get_fronter_integral(p, q)


@given(COUNTS, COUNTS, st.sampled_from([1.0, 5.0, 8.0]))
def test_equals_mauve_text_where_the_histograms_differ(p, q, scaling):
    assume(np.abs(p / p.sum() - q / q.sum()).max() > 1e-3)
    score = mauve_from_histograms(p, q, scaling)
    area, integral = oracle(p / p.sum(), q / q.sum(), scaling)
    assert score.mauve == pytest.approx(area, abs=1e-6)
    assert score.frontier_integral == pytest.approx(integral, abs=1e-9)
    smooth_p, smooth_q = ((counts + 0.5) / (counts + 0.5).sum() for counts in (p, q))
    if np.abs(smooth_p - smooth_q).max() > 1e-3:
        assert score.mauve_star == pytest.approx(oracle(smooth_p, smooth_q, scaling)[0], abs=1e-6)


@given(COUNTS)
def test_equal_histograms_score_one(p):
    score = mauve_from_histograms(p, 3 * p)
    assert score.mauve == pytest.approx(1, abs=1e-12)
    assert score.frontier_integral == 0


def test_reference_implementation_fails_where_ours_does_not():
    half = np.array([0.5, 0.5])
    assert oracle(half, half, 5.0)[0] == pytest.approx(0.75)
    assert mauve_from_histograms(half, half).mauve == pytest.approx(1)


@given(COUNTS, COUNTS, st.permutations(range(BINS)))
def test_properties(p, q, order):
    score = mauve_from_histograms(p, q)
    assert 0.0040720962619612 <= score.mauve <= 1
    assert 0 <= score.frontier_integral <= 1 + 1e-12
    swapped, permuted, scaled = (
        mauve_from_histograms(q, p),
        mauve_from_histograms(p[order], q[order]),
        mauve_from_histograms(p / p.sum(), q),
    )
    for other in (swapped, permuted, scaled):
        assert other.mauve == pytest.approx(score.mauve, abs=1e-12)
        assert other.frontier_integral == pytest.approx(score.frontier_integral, abs=1e-12)
    assert permuted.mauve_star == pytest.approx(score.mauve_star, abs=1e-12)
    assert scaled.mauve_star is None


def test_star_smooths_counts():
    score = mauve_from_histograms([700, 200, 100], [100, 300, 600])
    assert score.mauve_star == pytest.approx(0.264567603986, abs=1e-12)


@given(COUNTS, COUNTS)
def test_curve_is_that_of_mauve_text(p, q):
    from mauve.compute_mauve import get_divergence_curve_for_multinomials

    expected = get_divergence_curve_for_multinomials(p / p.sum(), q / q.sum(), np.linspace(1e-6, 1 - 1e-6, 25), 5)
    np.testing.assert_allclose(mauve_from_histograms(p, q).curve, expected, atol=1e-12)


def test_many_pairs_at_once():
    p, q = np.random.default_rng(0).integers(0, 9, size=(2, 4, 3, BINS)) + 1
    areas = mauve_areas(p, q, 3.0)
    assert areas.shape == (4, 3)
    for place in np.ndindex(4, 3):
        assert areas[place] == pytest.approx(mauve_from_histograms(p[place], q[place], 3.0).mauve, abs=1e-14)
    q[2, 1] = 0
    with pytest.raises(MetricError, match="not empty"):
        mauve_areas(p, q)


@pytest.mark.parametrize(
    ("p", "q", "message"),
    [
        ([1, 2], [1, 2, 3], "same bins"),
        ([[1, 2]], [[1, 2]], "same bins"),
        ([0, 0], [1, 2], "not empty"),
        ([1, -1, 4], [1, 1, 1], "negative"),
        ([0.5, np.nan], [0.5, 0.5], "finite"),
    ],
)
def test_bad_histograms(p, q, message):
    with pytest.raises(MetricError, match=message):
        mauve_from_histograms(p, q)


@pytest.mark.parametrize("scaling", [0.0, -1.0, np.nan, np.inf])
def test_bad_scaling(scaling):
    with pytest.raises(MetricError, match="scaling"):
        mauve_from_histograms([1, 2], [2, 1], scaling)
