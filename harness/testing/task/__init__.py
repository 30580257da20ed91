"""Checks of tasks; importing this module fills the battery."""

from harness.testing.task.battery import TASK
from harness.testing.task.subject import TaskSubject

__all__ = ["TASK", "TaskSubject"]
