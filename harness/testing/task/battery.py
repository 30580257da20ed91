"""The battery that the checks of tasks join."""

from harness.testing.battery import Battery, Tier
from harness.testing.task.subject import TaskSubject

TASK: Battery[TaskSubject] = Battery("task", {Tier.QUICK: 1, Tier.FULL: 1})
