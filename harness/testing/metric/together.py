"""Metrics that measure several systems together, and test their differences."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING

from harness.testing.battery import require, skip
from harness.testing.metric.battery import METRIC
from harness.testing.metric.subject import MetricSubject
from metrics.base import MetricError
from metrics.joint import JointMetric, JointResult

if TYPE_CHECKING:
    import pandas as pd


@METRIC.check()
def systems_are_measured_together(subject: MetricSubject) -> None:
    """Three systems get numbers each, and every pair a difference of them with a p-value."""
    right = subject.world.written(subject.world.completions, ended=True)
    systems = {"first": subject.generations(), "second": right, "third": subject.generations()}
    result = _compute(subject, systems)
    require(list(result.numbers) == list(systems), f"there are numbers of {list(result.numbers)}, not {list(systems)}")
    for name, numbers in result.numbers.items():
        subject.require_sound(numbers, f"system {name!r}")
    if not result.differences:
        skip("it tests no differences")
    for number in dict.fromkeys(each.metric for each in result.differences):
        pairs = [(each.first, each.second) for each in result.differences if each.metric == number]
        expected = list(combinations(systems, 2))
        require(pairs == expected, f"differences of {number} are of {pairs}: give each pair once, in order: {expected}")
    for each in result.differences:
        pair = f"{each.metric} of {each.first!r} and {each.second!r}"
        require(0 < each.p_value <= 1, f"the p-value of {pair} is {each.p_value}: it must be above 0 and at most 1")
        first, second = (result.numbers[name].get(each.metric) for name in (each.first, each.second))
        if first is not None and second is not None:
            require(
                abs(each.difference - (first - second)) < 1e-6,
                f"the difference of {pair} is {each.difference}, and the numbers are {first} and {second}",
            )


@METRIC.check()
def a_system_does_not_differ_from_itself(subject: MetricSubject) -> None:
    """Two systems with the same generations have the same numbers, no difference, and a p-value of 1."""
    result = _compute(subject, {"one": subject.generations(), "same": subject.generations()})
    require(result.numbers["one"] == result.numbers["same"], f"two systems with the same texts get {result.numbers}")
    for each in result.differences:
        require(
            each.difference == 0 and each.p_value > 0.99,
            f"two systems with the same texts differ in {each.metric} by {each.difference}, p = {each.p_value}: no "
            "permutation can change anything, so p is 1",
        )


@METRIC.check()
def systems_with_other_rows_are_an_error(subject: MetricSubject) -> None:
    """Systems that do not answer the same prompts row by row are a MetricError."""
    table = subject.generations()
    try:
        _compute(subject, {"one": table, "other": table[::-1]})
    except MetricError:
        return
    require(False, "systems with the rows of one turned round are compared: call self.check_systems first")


def _compute(subject: MetricSubject, systems: Mapping[str, pd.DataFrame]) -> JointResult:
    metric = subject.metric()
    if not isinstance(metric, JointMetric):
        skip("the metric measures one system at a time")
    if reason := metric.why_alone():
        skip(reason)
    return metric.compute_jointly(systems, subject.context(policy=None, decoder=None))
