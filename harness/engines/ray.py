"""Trials as tasks of a Ray cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.engines import Deaths, RunTrial
from harness.engines.ray_cluster import check_reachable, connected, task_options
from harness.engines.remote import Place
from harness.errors import HarnessError, StudyError
from harness.progress import Display, Event
from harness.trial import Trial

_POLL = 0.5
_PATIENCE = 10.0


@dataclass(frozen=True)
class Ray:
    """Runs trials on a Ray cluster whose nodes share the results folder, or its URL.

    Attributes:
        address: of a cluster to join, ``host:port``, ``ray://host:port`` or ``auto``. None: the environment variable
            ``RAY_ADDRESS``, or a cluster on this machine that ends with the run.

    Raises:
        StudyError: if Ray is not installed, or nothing listens at the address.
    """

    address: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", self.address or os.environ.get("RAY_ADDRESS"))
        check_reachable(self.address)

    def run(self, trials: Sequence[Trial], out: Path, run_trial: RunTrial, shown: Display) -> None:
        """Run all trials, see ``harness.engines.Engine``."""
        with connected(self.address, trials) as lacks:
            for text in lacks:
                shown.note(f"warning: {text}; they wait until one joins")
            _Run(Place.here(out), run_trial, shown).run(trials)


class _Run:
    def __init__(self, place: Place, run_trial: RunTrial, shown: Display) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._place, self._run_trial, self._shown = place, run_trial, shown
        self._deaths = Deaths(place.out, shown.show)
        self._running: dict[Any, Trial] = {}
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        options = {"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": here}
        self._inbox: Any = ray.remote(Inbox).options(**options).remote()
        self._task: Any = ray.remote(_run_there)

    def run(self, trials: Sequence[Trial]) -> None:
        import ray

        try:
            for trial in trials:
                self._submit(trial)
            while self._running:
                ended, _ = ray.wait(list(self._running), timeout=_POLL)
                self._show()
                for reference in ended:
                    self._end(reference)
        finally:
            for reference in self._running:
                ray.cancel(reference, force=True)

    def _submit(self, trial: Trial) -> None:
        options = task_options(trial)
        reference = self._task.options(**options).remote(self._place, trial, self._run_trial, self._inbox)
        self._running[reference] = trial

    def _end(self, reference: Any) -> None:
        import ray
        from ray.exceptions import RayError, RayTaskError, RuntimeEnvSetupError, TaskUnschedulableError

        trial = self._running.pop(reference)
        try:
            ray.get(reference)
        except RayTaskError as error:
            if isinstance(error.cause, HarnessError):
                raise error.cause from None
            raise StudyError(f"{trial.label} cannot be run on the cluster: {error.cause!r}") from error
        except (RuntimeEnvSetupError, TaskUnschedulableError) as error:
            raise StudyError(f"{trial.label} cannot be run on the cluster: {' '.join(str(error).split())}") from error
        except RayError as error:
            if self._deaths.try_again(trial, _CAUSES.get(type(error).__name__, "out of memory?")):
                self._submit(trial)
        else:
            self._place.wait_for(trial, pause=lambda: time.sleep(_POLL))

    def _show(self) -> None:
        import ray

        try:
            for event in ray.get(self._inbox.take.remote(), timeout=_PATIENCE):
                self._shown.show(event)
        except ray.exceptions.RayError:
            pass  # the node of the inbox died: another one starts it, and only what it held is not shown


_CAUSES = {"OutOfMemoryError": "out of memory", "NodeDiedError": "its node died"}


class Inbox:
    """Takes events of all workers and keeps them for the run (a Ray actor)."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def put(self, event: Event) -> None:
        """Keep an event."""
        self._events.append(event)

    def take(self) -> list[Event]:
        """All events since the last time."""
        events, self._events = self._events, []
        return events


def _run_there(place: Place, trial: Trial, run_trial: RunTrial, inbox: Any) -> None:
    """Run a trial in a worker of the cluster; a display that cannot be reached does not disturb it."""
    import ray

    sent: list[Any] = []

    def emit(event: Event) -> None:
        sent[:] = [inbox.put.remote(event)]

    place.run(trial, run_trial, emit)
    ray.wait(sent, timeout=_PATIENCE)
