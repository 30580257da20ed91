"""What a run shows while it runs, on standard error: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

PLAIN_INTERVAL = 15.0
"""Seconds between plain lines while trials run."""
_EVENT_INTERVAL = 0.2


@dataclass(frozen=True)
class Event:
    """Something happened in a trial.

    Attributes:
        label: of the trial.
        kind: it started, is at ``done`` of ``total`` in a phase, has something to say, or ended.
        phase: what it is doing, or for the end "finished" or "failed".
        done, total: position in the phase, total 0 where it is not known.
        seconds: how long the trial took, at its end; 0 where that is not known.
        problem: what it says, or the last line of the traceback of a failed trial.
    """

    label: str
    kind: Literal["start", "phase", "note", "end"]
    phase: str = ""
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    problem: str = ""


class Display(Protocol):
    """Shows events; used as a context manager around a run."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, event: Event) -> None: ...

    def note(self, text: str) -> None: ...


class Reporter:
    """What a trial reports its progress to; keeps events rare enough to be cheap.

    Args:
        label: of the trial.
        emit: takes the events, perhaps into another process.
    """

    def __init__(self, label: str, emit: Callable[[Event], None]) -> None:
        self._label, self._emit = label, emit
        self._phase, self._total, self._done, self._last, self._aside = "", 0, 0, 0.0, ""

    def start(self) -> None:
        """The trial begins."""
        self._emit(Event(self._label, "start"))

    def phase(self, phase: str, total: int = 0) -> None:
        """A phase of ``total`` steps begins."""
        self._phase, self._total, self._done, self._last = self._aside + phase, total, 0, time.monotonic()
        self._emit(Event(self._label, "phase", self._phase, 0, total))

    @contextmanager
    def aside(self, what: str) -> Iterator[None]:
        """Phases inside are parts of ``what``, for which the present phase waits."""
        kept = self._phase, self._total, self._done
        self._aside = f"{what}: "
        try:
            yield
        finally:
            self._aside = ""
            self._phase, self._total, self._done = kept
            self._emit(Event(self._label, "phase", self._phase, self._done, self._total))

    def reach(self, done: int) -> None:
        """The phase is at step ``done``."""
        self._done = done
        now = time.monotonic()
        if now - self._last >= _EVENT_INTERVAL or done >= self._total:
            self._last = now
            self._emit(Event(self._label, "phase", self._phase, done, self._total))

    def advance(self, steps: int) -> None:
        """The phase is ``steps`` further."""
        self.reach(self._done + steps)

    def note(self, text: str) -> None:
        """The trial has something to say."""
        self._emit(Event(self._label, "note", problem=text))

    def end(self, status: str, seconds: float, problem: str = "") -> None:
        """The trial ended, "finished" or "failed"."""
        self._emit(Event(self._label, "end", status, seconds=seconds, problem=problem))


class Bars:
    """One bar for the run, and one for every trial that is running."""

    def __init__(self, console: Console, total: int, done: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._trials = self._progress.add_task("trials", total=total, completed=done)
        self._running: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        """Show one event."""
        if event.kind == "note":
            self.note(f"{event.label}: {event.problem}")
            return
        if event.kind == "end":
            if event.label in self._running:
                self._progress.remove_task(self._running.pop(event.label))
            self._progress.advance(self._trials)
            self.note(_ending(event))
        elif event.label not in self._running:
            self._running[event.label] = self._progress.add_task(f"  {event.label}", total=None)
        if event.kind == "phase":
            self._progress.update(
                self._running[event.label],
                description=f"  {event.label} {event.phase}",
                completed=event.done,
                total=event.total or None,
            )

    def note(self, text: str) -> None:
        """Show a line above the bars."""
        self._progress.console.print(text, markup=False, highlight=False)


class Lines:
    """A line when a trial starts or ends, and now and then one in between."""

    def __init__(self, console: Console, total: int, done: int, interval: float = PLAIN_INTERVAL) -> None:
        self._console, self._total, self._done, self._interval = console, total, done, interval
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, event: Event) -> None:
        """Show one event, or nothing if the last line is young and the event is no start or end."""
        now = time.monotonic()
        if event.kind == "phase" and now - self._last < self._interval:
            return
        self._last = now
        if event.kind == "note":
            text = f"{event.label}: {event.problem}"
        elif event.kind == "end":
            self._done += 1
            text = _ending(event)
        elif event.kind == "start":
            text = f"{event.label} started"
        else:
            text = f"{event.label} {event.phase}" + (f" {event.done}/{event.total}" if event.total else "")
        self.note(f"[{self._done}/{self._total}] {text}")

    def note(self, text: str) -> None:
        """Show a line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def display(total: int, done: int, console: Console | None = None) -> Display:
    """The display that fits the console.

    Args:
        total: trials of the study.
        done: trials that were finished before.
        console: standard error if None.
    """
    console = console or Console(stderr=True)
    return Bars(console, total, done) if console.is_terminal else Lines(console, total, done)


def _ending(event: Event) -> str:
    duration = f" in {event.seconds:.1f} s" if event.seconds else ""
    return f"{event.label} {event.phase}{duration}" + (f": {event.problem}" if event.problem else "")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the progress bars of transformers and datasets, and what peft is warned of, out of the display."""
    import datasets
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled(), datasets.are_progress_bars_disabled()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            yield
    finally:
        if shown[0]:
            logging.enable_progress_bar()
        if not shown[1]:
            datasets.enable_progress_bars()
