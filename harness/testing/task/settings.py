"""The settings of a task: its dataclass fields."""

from __future__ import annotations

from harness.testing import settings_promises as promises
from harness.testing.battery import require
from harness.testing.task.battery import TASK
from harness.testing.task.subject import TaskSubject
from tasks.settings import SPLITS


@TASK.check()
def it_is_a_frozen_dataclass(subject: TaskSubject) -> None:
    """The task is a frozen dataclass, whose fields are its settings."""
    promises.require_frozen(subject.plugin)


@TASK.check()
def the_docstring_names_every_setting(subject: TaskSubject) -> None:
    """The docstring says what each setting means."""
    promises.require_documented(subject.plugin)


@TASK.check()
def settings_survive_json(subject: TaskSubject) -> None:
    """Settings that were written down as JSON make an equal task."""
    promises.require_round_trip(subject.plugin)


@TASK.check()
def it_can_be_pickled(subject: TaskSubject) -> None:
    """A task that was sent to another process has the same examples, also after it has been used here."""
    promises.sent(subject.task())
    task = subject.small()
    used = subject.contents(task)
    sent = subject.contents(promises.sent(task))
    changed = [split for split in SPLITS if used[split] != sent[split]]
    require(not changed, f"after pickling {', '.join(changed)} has other examples")
