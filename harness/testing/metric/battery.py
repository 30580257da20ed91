"""The battery that the checks of metrics join."""

from harness.testing.battery import Battery, Tier
from harness.testing.metric.subject import MetricSubject

METRIC: Battery[MetricSubject] = Battery("metric", {Tier.QUICK: 27, Tier.FULL: 30})
"""A metric with no settings, no columns, no needs, no curves, no direction and no optional modules skips the others."""
