"""Engines: where the trials of a study run, and what becomes of a trial whose worker dies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from harness.progress import Display, Event
from harness.store import Store
from harness.trial import Trial
from harness.trial_log import Log
from harness.trial_writing import write_trial

RETRIES = 2
"""How often a trial is tried again whose worker died: it may be the cause, or only have been there."""

RunTrial = Callable[[Trial, Path, Callable[[Event], None]], object]


class Engine(Protocol):
    """Runs trials."""

    def run(self, trials: Sequence[Trial], out: Path, run_trial: RunTrial, shown: Display) -> None:
        """Run all trials; when this returns each has been written down, finished or failed.

        Args:
            trials: what to run.
            out: results folder.
            run_trial: runs one and writes down what came of it; raises only what has to stop the run.
            shown: told about progress.

        Raises:
            StoreError: if the results cannot be written.
            StudyError: if the trials cannot be run there.
        """


class Deaths:
    """Counts how often the worker of a trial died, and writes a trial down as failed that dies too often.

    Args:
        out: results folder.
        emit: told about it.
    """

    def __init__(self, out: Path, emit: Callable[[Event], None]) -> None:
        self._out, self._emit, self._times = out, emit, Counter[str]()

    def try_again(self, trial: Trial, cause: str) -> bool:
        """The worker of ``trial`` died, perhaps by ``cause``; whether the trial is to be run again."""
        self._times[trial.identity] += 1
        times = self._times[trial.identity]
        if times <= RETRIES:
            self._emit(Event(trial.label, "note", problem=f"the worker process was killed ({cause}); trying again"))
            return True
        problem = f"the worker process was killed {times} times ({cause})"
        write_trial(Store(self._out), trial, Log(), None, problem)
        self._emit(Event(trial.label, "end", "failed", problem=problem))
        return False
