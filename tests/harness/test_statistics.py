import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.statistics import (
    EXACT_PAIRS,
    RESAMPLES,
    holm,
    iqm,
    probability_of_improvement,
    seeds_needed,
    share_interval,
    sign_flip_floor,
    sign_flips,
    t_interval,
)

fractions = st.integers(-200, 200)


def sign_flip(differences, seed=0):
    return sign_flips([differences], seed)[0]


def enumerated(differences):
    """p by whole numbers: every sign pattern, no rounding."""
    observed = abs(sum(differences))
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(each >= observed for each in sums) / len(sums)


@settings(max_examples=60, deadline=None)
@given(st.lists(fractions, min_size=1, max_size=9), st.sampled_from([1, 1e-9, 0.005, 1 / 3, 1e12]))
def test_a_sign_flip_counts_every_pattern_and_ties_whatever_the_unit(differences, unit):
    result = sign_flip([difference * unit for difference in differences])
    assert result.exact
    assert result.p == enumerated(differences)


def test_ties_that_rounding_splits_are_ties():
    assert 0.1 + 0.2 - 0.3 != 0
    assert sign_flip([0.1, 0.2, -0.3]).p == 1
    assert sign_flip([0.3, 0.1, -0.1, 0.1]).p == enumerated([3, 1, -1, 1])


@pytest.mark.parametrize("n", range(1, 11))
def test_the_floor_is_reached_where_all_differences_have_one_sign(n):
    differences = np.arange(1.0, n + 1)
    assert sign_flip(differences).p == sign_flip(-differences).p == sign_flip_floor(n) == 2 / 2**n


def test_no_difference_at_all_is_no_evidence():
    assert sign_flip([0.0] * 7).p == sign_flip([0.0]).p == sign_flip([5.0]).p == 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_order_and_sign_do_not_matter(differences, random):
    p = sign_flip(differences).p
    assert sign_flip([-d for d in differences]).p == p
    random.shuffle(differences)
    assert sign_flip(differences).p == p


def test_more_pairs_are_drawn_by_a_seed_and_close_to_all_patterns(monkeypatch):
    differences = np.random.default_rng(0).normal(0.3, 1, EXACT_PAIRS + 1)
    drawn = sign_flip(differences, seed=1)
    assert drawn.p == sign_flip(differences, seed=1).p != sign_flip(differences, seed=2).p
    monkeypatch.setattr("harness.statistics.EXACT_PAIRS", EXACT_PAIRS + 1)
    exact = sign_flip(differences)
    assert (exact.exact, drawn.exact) == (True, False)
    assert abs(drawn.p - exact.p) < 4 * math.sqrt(exact.p * (1 - exact.p) / RESAMPLES)
    assert sign_flip(np.ones(40)).p == sign_flip_floor(40) == 1 / (RESAMPLES + 1)


@pytest.mark.parametrize("wrong", [[], [1.0, math.nan], [math.inf, 1.0], [[1.0, 2.0]]])
def test_what_is_no_list_of_finite_numbers_is_refused(wrong):
    for function in (sign_flip, t_interval):
        with pytest.raises(ValueError, match="at least one finite number"):
            function(wrong)


def holm_by_the_book(p_values, alpha):
    """Step down: reject the smallest while it is below alpha over the number left."""
    left, rejected = sorted(range(len(p_values)), key=lambda i: p_values[i]), set()
    while left and p_values[left[0]] <= alpha / len(left):
        rejected.add(left.pop(0))
    return rejected


@settings(max_examples=200)
@given(st.lists(st.integers(0, 64).map(lambda k: k / 64), max_size=7), st.floats(0.001, 0.999))
def test_holm_rejects_what_stepping_down_rejects(p_values, alpha):
    adjusted = holm(p_values)
    assert {i for i, p in enumerate(adjusted) if p <= alpha} == holm_by_the_book(p_values, alpha)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_holm_is_the_closed_test_of_bonferroni(p_values):
    """A hypothesis falls where every set that holds it falls."""
    m = len(p_values)
    sets = [each for size in range(1, m + 1) for each in itertools.combinations(range(m), size)]
    expected = [max(min(1, len(s) * min(p_values[i] for i in s)) for s in sets if j in s) for j in range(m)]
    assert holm(p_values) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("comparisons", "alpha", "n"),
    [(1, 0.05, 6), (1, 0.0625, 5), (2, 0.05, 7), (4, 0.05, 8), (10, 0.05, 9), (1, 0.5, 2)],
)
def test_seeds_needed(comparisons, alpha, n):
    assert seeds_needed(comparisons, alpha) == n
    assert comparisons * sign_flip_floor(n) <= alpha < comparisons * sign_flip_floor(n - 1)


@pytest.mark.parametrize("wrong", [(0, 0.05), (1, 0), (1, 1)])
def test_seeds_for_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="at least 1 comparison"):
        seeds_needed(*wrong)


@settings(max_examples=50)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=9), st.sampled_from([0.5, 0.9, 0.95]))
def test_the_interval_is_that_of_scipy_s_t_test(values, level):
    if np.ptp(values) < 1e-6:
        return
    expected = stats.ttest_1samp(values, 0).confidence_interval(level)
    assert t_interval(values, level) == pytest.approx(tuple(expected), rel=1e-9, abs=1e-9)


def test_intervals_of_one_number_and_of_equal_numbers():
    assert all(map(math.isnan, t_interval([3.0])))
    assert t_interval([2.0, 2.0]) == (2, 2)


def test_the_interval_covers_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(1, 2, (4000, 5))
    covered = np.mean([low <= 1 <= high for low, high in map(t_interval, draws)])
    assert abs(covered - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 4000)


def test_interquartile_means():
    assert iqm([100, 1, 2, 3, 4, 5, 6, -100]) == pytest.approx(3.5 - 1 + 0.0 + 1)
    assert iqm([[0, 1], [2, 99]]) == 1.5
    assert iqm([7]) == 7


@given(st.lists(st.tuples(fractions, fractions), min_size=1, max_size=9))
def test_the_probability_of_improvement_counts_matched_pairs(pairs):
    wins = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs)
    values, baseline = zip(*pairs, strict=True)
    assert probability_of_improvement(values, baseline) == pytest.approx(wins / len(pairs))


def test_shares_have_the_interval_of_clopper_and_pearson():
    for n, k in itertools.product((1, 3, 8), range(9)):
        if k <= n:
            expected = stats.binomtest(k, n).proportion_ci(0.9, method="exact")
            assert share_interval(k / n, n, 0.9) == pytest.approx((expected.low, expected.high))


def test_shares_of_shares_are_covered():
    """Three tasks under one seed, alike or not: the seeds are the trials."""
    rng = np.random.default_rng(0)
    for shared in (0.0, 0.7, 1.0):
        for p in (0.5, 0.8, 0.95):
            own, common = rng.random((2000, 6, 3)) < p, rng.random((2000, 6, 1)) < p
            wins = np.where(rng.random((2000, 6, 3)) < shared, common, own).mean((1, 2))
            intervals = np.array([share_interval(each, 6) for each in wins])
            assert np.mean((intervals[:, 0] <= p) & (p <= intervals[:, 1])) >= 0.95 - 4 * math.sqrt(0.05 * 0.95 / 2000)
