"""What a metric reports of ordinary generations: numbers that keep to what it declares of them."""

from __future__ import annotations

import math
from typing import Any

from harness.series import collector
from harness.testing.battery import require, skip
from harness.testing.metric.battery import METRIC
from harness.testing.metric.subject import CLOSE, MetricSubject, standard_error
from metrics.base import MetricError


@METRIC.check()
def numbers_are_finite_and_within_their_ranges(subject: MetricSubject) -> None:
    """Every number that is reported is declared, finite, and within its range."""
    numbers = subject.ordinary
    require(isinstance(numbers, dict), f"compute returns a {type(numbers).__name__}: return numbers by name")
    subject.require_sound(numbers, "ordinary generations")


@METRIC.check()
def the_headline_number_is_reported(subject: MetricSubject) -> None:
    """The first number that a leaderboard shows is there for ordinary generations."""
    cls = subject.plugin.cls
    if not cls.values:
        skip("the metric declares no number")
    name, numbers = next(iter([*cls.headline, *cls.values])), subject.ordinary
    require(
        name in numbers,
        f"{name}, which a leaderboard would show, is not among {', '.join(numbers) or 'the numbers: there are none'}; "
        "set headline, or report it",
    )


@METRIC.check()
def sample_errors_are_not_negative(subject: MetricSubject) -> None:
    """Sample errors are at least 0, or NaN where they are not known."""
    for name, number in subject.ordinary.items():
        error = standard_error(number)
        require(
            math.isnan(error) or 0 <= error < math.inf,
            f"the standard_error of {name} is {error}: it is a standard deviation, or NaN where it is not known",
        )


@METRIC.check()
def curves_keep_to_their_declarations(subject: MetricSubject) -> None:
    """Every curve is declared, reported once, and has finite points."""
    if not subject.plugin.cls.series:
        skip("the metric has no curves")
    rows, metric = list[dict[str, Any]](), subject.metric()
    try:
        subject.compute(
            context=subject.context(series=collector(subject.plugin.entry.name, metric, rows)), metric=metric
        )
    except MetricError as error:
        require(False, str(error))
    require(rows, "no curve was reported of ordinary generations: hand them to context.series(name, x, y)")


@METRIC.check()
def better_generations_score_better(subject: MetricSubject) -> None:
    """Where a direction is declared, generations that are the references score no worse than one letter repeated."""
    directed = {
        name: value.higher_is_better
        for name, value in subject.plugin.cls.values.items()
        if value.higher_is_better is not None
    }
    if not directed:
        skip("no number has a direction")
    world = subject.world
    letter = world.completions[0][0]
    noise = [letter * world.max_new_tokens] * len(world.completions)
    try:
        perfect = subject.compute(world.written(world.completions, ended=True))
        poor = subject.compute(world.written(noise, ended=False))
    except MetricError as error:
        skip(f"it refuses one of them: {error}")
    compared = [name for name in directed if name in perfect and name in poor]
    if not compared:
        skip("no number with a direction is reported of both")
    for name in compared:
        best, worst, higher = float(perfect[name]), float(poor[name]), directed[name]
        require(
            (best - worst if higher else worst - best) >= -CLOSE,
            f"{name} declares that {'higher' if higher else 'lower'} is better, and is {best} for the references and "
            f"{worst} for {noise[0]!r} again and again: turn higher_is_better round, or set it to None where neither "
            "direction is better",
        )
