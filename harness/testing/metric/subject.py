"""A metric with what is needed to try it out."""

from __future__ import annotations

from dataclasses import dataclass

from harness.testing.subjects import Plugin
from metrics.base import Metric


@dataclass
class MetricSubject:
    """A metric to be checked.

    Attributes:
        plugin: where it comes from, and its settings.
    """

    plugin: Plugin[Metric]
