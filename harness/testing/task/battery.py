"""The battery that the checks of tasks join."""

from harness.testing.battery import Battery, Tier
from harness.testing.task.subject import TaskSubject

TASK: Battery[TaskSubject] = Battery("task", {Tier.QUICK: 23, Tier.FULL: 26})
"""A task with no settings, no judge, no error tokens and no disjoint splits skips the others."""
