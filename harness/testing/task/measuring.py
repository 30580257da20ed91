"""The metrics of a task: they exist, take their settings, and find what they need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.assets import resolve
from harness.errors import HarnessError
from harness.measuring import lacks
from harness.registry import METRICS
from harness.testing.battery import require
from harness.testing.task.battery import TASK
from harness.testing.task.subject import TaskSubject
from harness.validation import Key, build
from tasks.base import MetricSpec

if TYPE_CHECKING:
    from metrics.base import Metric


@TASK.check()
def metrics_are_registered(subject: TaskSubject) -> None:
    """The task names at least one metric, each once, each registered and with settings that it takes."""
    specs = subject.plugin.cls.metrics
    require(isinstance(specs, tuple) and specs, f"metrics is {specs!r}: name at least one in a tuple of MetricSpec")
    wrong = [spec for spec in specs if not isinstance(spec, MetricSpec)]
    require(not wrong, f"metrics has {wrong[:1]} in it: wrap names in MetricSpec")
    twice = [name for name, count in Counter(spec.name for spec in specs).items() if count > 1]
    require(not twice, f"metrics names {', '.join(twice)} more than once")
    for spec in specs:
        try:
            _build(spec)
        except HarnessError as error:
            require(False, f"metric {spec.name!r}: {error}")


@TASK.check()
def metrics_find_what_they_need(subject: TaskSubject) -> None:
    """The task has the language or the judge, and as many test examples, as its metrics need."""
    task, tests = subject.prepared.task, len(subject.prepared.tables["test"])
    for spec, metric in _metrics(subject):
        lacking = lacks(task, metric)
        require(not lacking, f"metric {spec.name!r} needs {lacking}: name other metrics, or add what it needs")
        require(
            tests >= metric.minimum_n,
            f"metric {spec.name!r} needs at least {metric.minimum_n} test examples, and there are {tests} by default",
        )


@TASK.check()
def metrics_report_different_numbers(subject: TaskSubject) -> None:
    """No two metrics of the task report a number of one name."""
    reported = dict[str, str]()
    for spec, metric in _metrics(subject):
        for number in metric.values:
            require(
                number not in reported, f"{reported.get(number)!r} and {spec.name!r} both report {number!r}: drop one"
            )
            reported[number] = spec.name


def _metrics(subject: TaskSubject) -> Iterator[tuple[MetricSpec, Metric]]:
    """The metrics that can be built: of the others another check says what is wrong."""
    for spec in subject.plugin.cls.metrics:
        if isinstance(spec, MetricSpec):
            try:
                yield spec, _build(spec)
            except HarnessError:
                continue


def _build(spec: MetricSpec) -> Metric:
    return build(METRICS.load(spec.name), resolve(dict(spec.settings)), Key(f"metric {spec.name!r}"))
