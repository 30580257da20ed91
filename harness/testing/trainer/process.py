"""A trainer leaves the process as it found it: the next trial runs in it."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any

from harness.testing.battery import require
from harness.testing.process_state import process_settings, restore_process, restore_torch, torch_settings
from harness.testing.trainer.battery import TRAINER
from harness.testing.trainer.subject import TrainerSubject


def _left_behind(
    subject: TrainerSubject, read: Callable[[], dict[str, Any]], restore: Callable[[Mapping[str, Any]], None]
) -> list[str]:
    """What the second of two trainings changed: in the first, a library that is imported may do what it likes."""
    names = list[str]()
    for _ in range(2):
        before = read()
        try:
            subject.fit()
            after = read()
        finally:
            restore(before)
        names = [name for name in before if before[name] != after[name]]
    return names


@TRAINER.check()
def settings_of_torch_are_left_alone(subject: TrainerSubject) -> None:
    """Training leaves no setting of torch behind: dtype, gradients, determinism, threads, precision."""
    names = _left_behind(subject, torch_settings, restore_torch)
    require(not names, f"training changed a setting of torch ({', '.join(names)}): restore it in a finally")


@TRAINER.check()
def settings_of_the_process_are_left_alone(subject: TrainerSubject) -> None:
    """Training leaves nothing behind in the process: folder, environment, warning filters, loggers, signal handlers."""
    names = _left_behind(subject, process_settings, restore_process)
    require(not names, f"training changed a setting of the process ({', '.join(names)}): restore it in a finally")


@TRAINER.check()
def no_file_is_written(subject: TrainerSubject) -> None:
    """Training writes no file into the working directory."""
    with tempfile.TemporaryDirectory() as folder:
        with chdir(folder):
            subject.fit()
        left = sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))
    found = ", ".join(left[:5])
    require(not left, f"training wrote {found} into the working directory: use tempfile, or write nothing")


@TRAINER.check()
def nothing_is_printed(subject: TrainerSubject) -> None:
    """Training prints nothing on standard output, where the command writes tables and JSON."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        subject.fit()
    lines = printed.getvalue().splitlines()
    require(not lines, f"training printed {lines[:1]} on standard output: use context.report, or logging")
