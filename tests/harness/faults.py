"""Real faults at an exact point: a process that kills itself with SIGKILL when it calls a function for the n-th time.

Of a whole run (``run_and_die``), or of the workers of an engine (``Deadly``).

The processes are forked from one that has imported everything, so that hundreds of kills are cheap.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from harness.engines import Engine, RunTrial
from harness.progress import Display, Event
from harness.trial import Trial

Moment = Literal["before", "after", "half"]

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    [
        *("harness.engine", "harness.execution", "trainers.loop", "trainers.sequence_match", "metrics.mauve"),
        # they and torch import these when they are first called
        *("datasets", "peft", "transformers.models.llama.modeling_llama", "torch.profiler._cupti_monitor"),
    ]
)


def run_and_die(study: Any, out: Path, function: str, call: int, moment: Moment = "before", workers: int = 1) -> bool:
    """Run a study in a process that dies at the n-th call of a function; whether it died.

    Args:
        study: to be run.
        out: results folder.
        function: ``module:function`` or ``module:Class.method``.
        call: which call of it, from 1.
        moment: the process dies before the call, after it, or when the file that it writes is half there: the function
            then takes the path of a file somewhere among its arguments.
        workers: of the run.
    """
    process = _server.Process(target=_run, args=(study, out, function, call, moment, workers, dict(os.environ)))
    process.start()
    process.join()
    if process.exitcode not in (0, -signal.SIGKILL):
        raise AssertionError(f"the run ended with {process.exitcode}")
    return process.exitcode == -signal.SIGKILL


@dataclass(frozen=True)
class Deadly:
    """An engine some of whose workers die.

    Attributes:
        engine: whose workers.
        trainer: in which trials they die.
        deaths: function, call and moment as for ``run_and_die``, of the first worker that runs such a trial, the next
            one, and so on; later ones live.
        marks: empty folder, in which every worker that is to die leaves a file.
        die: lets the worker die, given its file.
    """

    engine: Engine
    trainer: str
    deaths: Sequence[tuple[str, int, Moment]]
    marks: Path
    die: Callable[[Path], object] = lambda _: kill_self()

    def run(self, trials: Sequence[Trial], out: Path, run_trial: RunTrial, shown: Display) -> None:
        self.engine.run(trials, out, partial(self.run_trial, run_trial), shown)

    def run_trial(self, run_trial: RunTrial, trial: Trial, out: Path, emit: Callable[[Event], None]) -> None:
        number = len(list(self.marks.iterdir()))
        if trial.trainer.name == self.trainer and number < len(self.deaths):
            mark = self.marks / str(number)
            mark.touch()
            _arm(*self.deaths[number], partial(self.die, mark))
        run_trial(trial, out, emit)


def _run(
    study: Any, out: Path, function: str, call: int, moment: Moment, workers: int, environment: dict[str, str]
) -> None:
    import torch

    import harness

    os.environ.update(environment)
    torch.set_num_threads(1)
    _arm(function, call, moment)
    harness.run(study, out, workers=workers)


def kill_self() -> None:
    """The process ends at once, as if it ran out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def _arm(function: str, call: int, moment: Moment, die: Callable[[], None] = kill_self) -> None:
    module, _, path = function.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def deadly(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and moment == "before":
            die()
        result = original(*arguments, **named)
        if calls == call:
            written = [each for each in (*arguments, *named.values()) if moment == "half" and isinstance(each, Path)]
            for path in written:
                os.truncate(path, path.stat().st_size // 2)
            die()
        return result

    setattr(owner, name, deadly)
