"""A run that torchrun or accelerate has launched in several processes.

All of them train every trial together. The first, the leader, decides what is to be run, measures, writes and shows
progress; the others follow it from trial to trial.
"""

from __future__ import annotations

import atexit
import os
import sys
import traceback
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from harness.errors import StudyError
from harness.execution import follow
from harness.progress import quiet

if TYPE_CHECKING:
    import pandas as pd
    from torch.distributed.distributed_c10d import Store as Meeting

    from harness.store import Store
    from harness.trial import Trial
    from trainers.processes import Processes

T = TypeVar("T")

FOR_EVER = timedelta(days=30)
"""The others wait for the leader while it measures, however long that takes."""
GRACE = timedelta(seconds=20)
"""After a failure the others must have failed too by then, or they are stuck in the middle of a step."""
_DONE, _FAILED = "done", "failed"
_SHARDING = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM")
_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Launch:
    """The processes of a launch, seen from one of them."""

    def __init__(self, processes: Processes, meeting: Meeting) -> None:
        """Take part in a launch.

        Args:
            processes: that train together.
            meeting: where they meet between trials, whatever became of their collective operations.
        """
        self.processes, self._meeting, self._trials = processes, meeting, 0

    @property
    def leads(self) -> bool:
        """Whether this process is the leader."""
        return self.processes.rank == 0

    def follow(self, trials: Sequence[Trial], store: Store) -> pd.DataFrame:
        """Train with the leader what it announces, and return its table.

        Args:
            trials: of the study.
            store: the results folder; it is only read.

        Raises:
            StudyError: if this process failed and the others did not.
        """
        pending = self.announced(list[str]())
        for trial in trials:
            if trial.identity in pending:
                problem = None
                with quiet():
                    try:
                        follow(trial, store.checkpoint(trial))
                    except Exception:
                        problem = traceback.format_exc()
                self.meet(trial, problem)
        nothing: Any = None
        table: pd.DataFrame = self.announced(nothing)
        return table

    def announced(self, value: T) -> T:
        """What the leader says."""
        return self.processes.agreed(value)

    def meet(self, trial: Trial, problem: str | None) -> None:
        """Wait until all processes are done with a trial.

        Args:
            trial: what this process is done with.
            problem: traceback of its failure.

        Raises:
            StudyError: if it failed and the others did not; the leader may fail alone, in what it alone does.
        """
        self._trials += 1
        keys = [f"{self._trials}/{rank}" for rank in range(self.processes.size)]
        self._meeting.set(keys[self.processes.rank], _DONE if problem is None else _FAILED)
        try:
            self._meeting.wait(keys, FOR_EVER if problem is None else GRACE)
        except Exception as error:
            if problem is None:
                raise
            raise self._alone(trial, problem) from error
        if problem is not None and self._meeting.get(keys[0]).decode() == _DONE:
            raise self._alone(trial, problem)

    def _alone(self, trial: Trial, problem: str) -> StudyError:
        sys.stderr.write(problem)
        return StudyError(
            f"{trial.label} failed in process {self.processes.rank} and not in all of them, so that this launch "
            "cannot go on: mend it (see above) and launch again; finished trials are kept"
        )


def launched() -> bool:
    """Whether this process is one of several that were launched together."""
    return all(os.environ.get(name) for name in _VARIABLES) and int(os.environ["WORLD_SIZE"]) > 1


def on_one_machine() -> bool:
    """Whether all processes of a launch are on this machine."""
    return os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]


def launch() -> Launch | None:
    """The launch that this process was started by; None where it was started alone.

    Raises:
        StudyError: if a process group is there already, of somebody else, or accelerate is configured to do more than
            to start processes.
    """
    if not launched():
        return None
    _check_configuration()
    return _joined()


def _check_configuration() -> None:
    for name in _SHARDING:
        if os.environ.get(name, "false").lower() == "true":
            raise StudyError(
                f"{name} is true: every process holds the whole model here, sharded training is not supported; "
                "launch with torchrun, or with plain --multi_gpu"
            )
    if os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1") != "1":
        raise StudyError(
            "accelerate is configured to accumulate gradients: leave that out, and set optimization.accumulation in "
            "the study instead"
        )


@cache
def _joined() -> Launch:
    import torch
    from torch import distributed
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    from trainers.processes import Processes

    if distributed.is_initialized():
        raise StudyError("torch.distributed is initialised already: a launch of seqmatch makes its own process group")
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    store, rank, size = next(iter(rendezvous("env://")))
    # Objects travel between CPUs, gradients between GPUs where there are any.
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        timeout=FOR_EVER,
        store=PrefixStore("group", store),
        rank=rank,
        world_size=size,
    )
    atexit.register(distributed.destroy_process_group)
    return Launch(Processes.present(), PrefixStore("trials", store))
