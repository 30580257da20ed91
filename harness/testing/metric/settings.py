"""The settings of a metric: its dataclass fields."""

from __future__ import annotations

from harness.testing import settings_promises as promises
from harness.testing.battery import require
from harness.testing.metric.battery import METRIC
from harness.testing.metric.subject import MetricSubject, differences


@METRIC.check()
def it_is_a_frozen_dataclass(subject: MetricSubject) -> None:
    """The metric is a frozen dataclass, whose fields are its settings."""
    promises.require_frozen(subject.plugin)


@METRIC.check()
def the_docstring_names_every_setting(subject: MetricSubject) -> None:
    """The docstring says what each setting means."""
    promises.require_documented(subject.plugin)


@METRIC.check()
def settings_survive_json(subject: MetricSubject) -> None:
    """Settings that were written down as JSON make an equal metric."""
    promises.require_round_trip(subject.plugin)


@METRIC.check()
def it_can_be_pickled(subject: MetricSubject) -> None:
    """A metric that was sent to another process reports the same, also after it has been used here."""
    promises.sent(subject.metric())
    metric = subject.metric()
    used = subject.compute(metric=metric)
    changed = differences(used, subject.compute(metric=promises.sent(metric)), tolerance=0)
    require(not changed, f"after pickling it reports {changed}")
