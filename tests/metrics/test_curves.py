"""The curves that metrics report to be plotted."""

import numpy as np
import pandas as pd
import pytest

from metrics.base import MetricContext
from metrics.exact import Exact
from metrics.mauve import Mauve
from metrics.mauve_features import mauve_from_features
from metrics.tabular import TabularLanguage, TabularPolicy


def curves_of(metric, generations, context):
    """What it reports, and its numbers."""
    found = {}
    context = MetricContext(**{**context, "series": lambda name, x, y: found.setdefault(name, (x, y))})
    return found, metric.compute(generations, context)


def texts(seed):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("abcdef"), 8)) for _ in range(60)]


def test_the_divergence_curve_bounds_the_area_that_is_mauve(tiny_llama):
    table = pd.DataFrame({"completion": texts(1), "reference": texts(0)})
    found, numbers = curves_of(Mauve(model=tiny_llama, clusterings=1), table, {"real": texts(2)})
    assert list(found) == list(Mauve.series)
    for name, number in (("divergence_curve", "mauve"), ("ceiling_curve", "mauve_ceiling")):
        x, y = found[name]
        assert len(x) == len(y) == 27
        assert (x[0], y[0], x[-1], y[-1]) == (1, 0, 0, 1)
        assert np.trapezoid(x, y) == pytest.approx(numbers[number])
    assert numbers["mauve"] != numbers["mauve_ceiling"]


def test_the_divergence_curve_is_a_mean_over_the_clusterings():
    rng = np.random.default_rng(0)
    system, reference, real = (rng.normal(mean, size=(60, 4)) for mean in (0.5, 0, 0))
    result = mauve_from_features({"s": system}, reference, real=real, clusterings=3)["s"]
    assert len({score.mauve for score in result.scores}) > 1
    by_hand = sum(score.curve for score in result.scores) / 3
    np.testing.assert_allclose(result.curve, by_hand)
    np.testing.assert_allclose(result.ceiling_curve, sum(score.curve for score in result.ceiling) / 3)


def test_without_further_real_texts_there_is_no_ceiling(tiny_llama):
    table = pd.DataFrame({"completion": texts(1), "reference": texts(0)})
    found, _ = curves_of(Mauve(model=tiny_llama), table, {})
    assert list(found) == ["divergence_curve"]


def test_error_curves_are_the_numbers_by_position_and_go_on_beyond_them():
    depth = 24
    language = TabularLanguage(("a",), depth, ((0,) * depth,), np.array([1.0]))
    policy = TabularPolicy("a", lambda visible: (0.9, 0.1) if len(visible) < depth else (0, 1))
    found, numbers = curves_of(Exact(), pd.DataFrame(), {"policy": policy, "language": language})
    assert list(found) == list(Exact.series)
    for name, (x, y) in found.items():
        assert x == list(range(1, depth + 2))
        assert {f"{name}_{t}": value for t, value in zip(x[:20], y, strict=False)} == {
            number: value for number, value in numbers.items() if number.startswith(name)
        }
    np.testing.assert_allclose(found["teacher_forced_error"][1][:depth], 0.1)


def test_positions_that_nothing_reaches_are_left_out():
    language = TabularLanguage(("a", "b"), 3, ((0,), (0, 1, 1)), np.array([0.5, 0.5]))
    policy = TabularPolicy("ab", lambda visible: (1, 0, 0) if not visible else (0, 0, 1))
    found, _ = curves_of(Exact(), pd.DataFrame(), {"policy": policy, "language": language})
    lengths = {name: len(x) for name, (x, _) in found.items()}
    assert lengths["teacher_forced_error"] > lengths["free_running_error"] == lengths["excess_error"]
    assert all(np.isfinite(y).all() for _, y in found.values())
