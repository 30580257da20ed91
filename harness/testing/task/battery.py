"""The battery that the checks of tasks join."""

from harness.testing.battery import Battery, Tier
from harness.testing.task.subject import TaskSubject

TASK: Battery[TaskSubject] = Battery("task", {Tier.QUICK: 24, Tier.FULL: 27})
"""A task with no settings, no judge, no error tokens and no disjoint splits skips the other checks."""
