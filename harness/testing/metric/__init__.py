"""Checks of metrics; importing this module fills the battery."""

from harness.testing.metric import (
    declarations,
    invariance,
    numbers,
    refusals,
    repeatability,
    settings,
    together,
    trying,
)
from harness.testing.metric.battery import METRIC
from harness.testing.metric.subject import MetricSubject

__all__ = [
    "METRIC",
    "MetricSubject",
    "declarations",
    "invariance",
    "numbers",
    "refusals",
    "repeatability",
    "settings",
    "together",
    "trying",
]
