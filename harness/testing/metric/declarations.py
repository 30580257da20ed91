"""What a metric declares of itself: answers that are known, numbers, curves, columns and needs."""

from __future__ import annotations

import inspect
import math
import os
from collections import Counter
from typing import get_args

from harness.errors import RegistryError
from harness.registry import METRICS
from harness.testing.battery import require, skip
from harness.testing.metric.battery import METRIC
from harness.testing.metric.subject import MetricSubject
from metrics.base import KnownAnswer, Need, Series, Value


@METRIC.check()
def known_answers_hold(subject: MetricSubject) -> None:
    """The metric gives its known answers, of which there is at least one, each of another case."""
    answers = subject.plugin.cls.known_answers()
    require(answers, "known_answers() is empty: give a case whose result follows from the formula, and is no output")
    wrong = [answer for answer in answers if not isinstance(answer, KnownAnswer)]
    require(not wrong, f"known_answers() has {wrong[:1]} in it: make KnownAnswer(case, measured, expected)")
    missed = [answer for answer in answers if not answer.holds]
    require(
        not missed,
        f"{len(missed)} of {len(answers)} known answers do not hold: "
        + "; ".join(f"{each.case}: {each.measured}, and must be {each.expected}" for each in missed[:3]),
    )
    twice = [case for case, count in Counter(answer.case for answer in answers).items() if count > 1]
    require(not twice, f"cases of known answers have one name: {twice}")


@METRIC.check()
def numbers_are_declared_with_direction_and_range(subject: MetricSubject) -> None:
    """Each number has a name, a direction (True, False or None), a unit, and a range from low to high."""
    values = subject.plugin.cls.values
    require(values, "values is empty: declare every number that compute may report")
    for name, value in values.items():
        require(name.isidentifier(), f"{name!r} is no name for a column: use letters, digits and underscores")
        require(isinstance(value, Value), f"values[{name!r}] is {value!r}: declare a metrics.base.Value")
        better = value.higher_is_better
        require(better in (True, False, None), f"higher_is_better of {name} is {better!r}: True, False, or None")
        low, high = value.range
        require(
            low < high and not math.isnan(low) and not math.isnan(high),
            f"the range of {name} is from {low} to {high}: give the smallest and the largest possible value",
        )
        require(isinstance(value.unit, str), f"the unit of {name} is {value.unit!r}: give a string, empty for none")


@METRIC.check()
def headline_numbers_are_declared(subject: MetricSubject) -> None:
    """What a leaderboard shows, and what needs further real completions, are numbers of the metric."""
    cls = subject.plugin.cls
    for field, names in (("headline", cls.headline), ("needs_real", cls.needs_real)):
        require(isinstance(names, tuple), f"{field} is a {type(names).__name__}: make it a tuple of names")
        unknown = [name for name in names if name not in cls.values]
        require(not unknown, f"{field} names {unknown}, which values does not declare")


@METRIC.check()
def numbers_have_names_of_their_own(subject: MetricSubject) -> None:
    """No other registered metric reports a number of the same name."""
    for name, entry in METRICS.listing().items():
        try:
            other = METRICS.load_entry(entry)
        except RegistryError:
            continue
        if _written_at(other) == _written_at(subject.plugin.cls):
            continue
        shared = sorted(set(subject.plugin.cls.values) & set(other.values))
        require(
            not shared,
            f"{', '.join(shared)} is also a number of metric {name!r}: a study with both could not tell them "
            "apart; choose other names",
        )


@METRIC.check()
def curves_are_declared_with_labels(subject: MetricSubject) -> None:
    """Each curve has a name, and labels for both axes."""
    if not subject.plugin.cls.series:
        skip("the metric has no curves")
    for name, curve in subject.plugin.cls.series.items():
        require(name.isidentifier(), f"curve {name!r} is no name: use letters, digits and underscores")
        require(isinstance(curve, Series), f"series[{name!r}] is {curve!r}: declare a metrics.base.Series")
        require(curve.x and curve.y, f"curve {name!r} has no label on an axis: a plot needs both")


@METRIC.check()
def columns_and_needs_exist(subject: MetricSubject) -> None:
    """The metric reads columns that generations have, and needs what a context can have."""
    cls, known = subject.plugin.cls, list(subject.world.table.columns)
    require(isinstance(cls.columns, tuple), f"columns is a {type(cls.columns).__name__}: make it a tuple of names")
    unknown = [column for column in cls.columns if column not in known]
    require(not unknown, f"columns names {unknown}, and generations have {', '.join(known)}")
    wrong = sorted(set(cls.needs) - set(get_args(Need)))
    require(not wrong, f"needs names {wrong}, and a context has {', '.join(get_args(Need))}")
    least = cls.minimum_n
    require(type(least) is int and least >= 0, f"minimum_n is {least!r}: give a whole number of at least 0")


def _written_at(cls: type) -> tuple[str, str]:
    """Where a class is written: one that is installed and one that is named by its file may be the same."""
    return os.path.realpath(inspect.getfile(cls)), cls.__qualname__
