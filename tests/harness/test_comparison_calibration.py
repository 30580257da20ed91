"""How often verdicts fall: on trainers that are equal, and on a known difference."""

import math

import numpy as np
import pytest
from long_tables import of_studies
from scipy import integrate, stats

from harness.comparison import compare


def rejected(values, trainers=("mle", "new")):
    """Per study and trainer: whether it was called better or worse. ``values``: (studies, trainers, seeds)."""
    comparison = compare(of_studies(values, trainers))
    assert len(comparison) == len(values) * (len(trainers) - 1)
    return comparison["verdict"].isin(["better", "worse"]).to_numpy().reshape(len(values), -1)


def band(probability, n):
    """Four standard errors of a share of n."""
    return 4 * math.sqrt(probability * (1 - probability) / n)


@pytest.mark.parametrize("n", [pytest.param(6, marks=pytest.mark.long), 7, pytest.param(8, marks=pytest.mark.long)])
def test_equal_trainers_are_told_apart_as_often_as_the_exact_level_says(n):
    """Heavy tails, and in half of the studies a seed effect that both share: the level is exact all the same."""
    rng = np.random.default_rng(n)
    values = rng.standard_t(3, (1600, 2, n))
    values[::2] += 3 * rng.normal(size=(800, 1, n))
    attainable = 2 * math.floor(0.05 * 2**n / 2) / 2**n
    assert attainable <= 0.05
    found = rejected(values)
    for share in (found[::2], found[1::2]):
        assert abs(share.mean() - attainable) < band(attainable, 800)


def test_several_equal_trainers_are_told_apart_in_at_most_a_twentieth_of_studies():
    """Three trainers against one baseline, whose noise they share: the family's error is that of any false verdict."""
    rng = np.random.default_rng(0)
    family = rejected(rng.normal(size=(500, 4, 8)), ("mle", "a", "b", "c")).any(1).mean()
    assert 0.005 < family < 0.05 + band(0.05, 500)


def test_a_true_difference_in_the_family_does_not_raise_the_error_of_the_others():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(500, 4, 8))
    values[:, 1] += 20
    found = rejected(values, ("mle", "far", "b", "c"))
    assert found[:, 0].all()
    assert 0.005 < found[:, 1:].any(1).mean() < 0.05 + band(0.05, 500)


def power_of_six(effect):
    """Only the two patterns of one sign reach 2/64: all six differences lie on one side."""
    return stats.norm.cdf(effect) ** 6 + stats.norm.cdf(-effect) ** 6


def power_of_seven(effect):
    """At 6/128 the smallest or the second smallest size may have the other sign; integrated over that size."""

    def above(x, sign):
        return stats.norm.sf(x - sign * effect)

    def at(x, sign):
        return stats.norm.pdf(x - sign * effect)

    def smallest(sign):
        return integrate.quad(lambda x: 7 * at(-x, sign) * above(x, sign) ** 6, 0, 12)[0]

    def second(sign):
        return integrate.quad(
            lambda x: 7 * at(-x, sign) * 6 * (above(0, sign) - above(x, sign)) * above(x, sign) ** 5, 0, 12
        )[0]

    return sum(above(0, sign) ** 7 + smallest(sign) + second(sign) for sign in (1, -1))


@pytest.mark.parametrize(("n", "power", "effect"), [(6, power_of_six, 1.2), (7, power_of_seven, 0.8)])
def test_on_a_known_effect_power_is_as_computed(n, power, effect):
    """The effect in standard deviations of the paired difference; what seeds do to both is three times as large."""
    assert power(0) == pytest.approx(2 * math.floor(0.05 * 2**n / 2) / 2**n)
    rng = np.random.default_rng(1)
    values = rng.normal(size=(1000, 2, n)) / math.sqrt(2) + 3 * rng.normal(size=(1000, 1, n))
    values[:, 1] += effect
    assert abs(rejected(values).mean() - power(effect)) < band(power(effect), 1000)


def test_the_interval_covers_the_effect_as_often_as_it_says():
    rng = np.random.default_rng(2)
    values = rng.normal(size=(1000, 2, 5)) + 3 * rng.normal(size=(1000, 1, 5))
    values[:, 1] += 0.4
    comparison = compare(of_studies(values, ("mle", "new")))
    covered = comparison["low"].le(0.4) & comparison["high"].ge(0.4)
    assert abs(covered.mean() - 0.95) < band(0.95, 1000)
