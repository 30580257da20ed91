"""Checks of metrics; importing this module fills the battery."""

from harness.testing.metric.battery import METRIC
from harness.testing.metric.subject import MetricSubject

__all__ = ["METRIC", "MetricSubject"]
