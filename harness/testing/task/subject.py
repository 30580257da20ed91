"""A task with what is needed to try it out."""

from __future__ import annotations

from dataclasses import dataclass

from harness.testing.subjects import Plugin
from tasks.base import Task


@dataclass
class TaskSubject:
    """A task to be checked.

    Attributes:
        plugin: where it comes from, and its settings.
    """

    plugin: Plugin[Task]
