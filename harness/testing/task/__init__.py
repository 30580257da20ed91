"""Checks of tasks; importing this module fills the battery."""

from harness.testing.task import examples, judging, lengths, measuring, repeatability, settings, texts, trying
from harness.testing.task.battery import TASK
from harness.testing.task.subject import TaskSubject

__all__ = [
    "TASK",
    "TaskSubject",
    "examples",
    "judging",
    "lengths",
    "measuring",
    "repeatability",
    "settings",
    "texts",
    "trying",
]
