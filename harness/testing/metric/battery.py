"""The battery that the checks of metrics join."""

from harness.testing.battery import Battery, Tier
from harness.testing.metric.subject import MetricSubject

METRIC: Battery[MetricSubject] = Battery("metric", {Tier.QUICK: 1, Tier.FULL: 1})
