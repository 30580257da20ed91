"""What a worker on another machine does: it makes sure that it is where the run is, and runs the trial."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.engines import RunTrial
from harness.errors import StoreError, StudyError
from harness.mirror import Mirror
from harness.progress import Event
from harness.provenance import library_versions, source_digest
from harness.registry import METRICS, TASKS, TRAINERS, Registry
from harness.store import Store
from harness.trial import Component, Trial


@dataclass(frozen=True)
class Place:
    """Where a run is, for workers on other machines.

    Attributes:
        out: results folder, absolute.
        url: of the results folder, where ``out`` is its mirror: every machine has a mirror of its own.
        folder: that the run was started in; relative paths in a study start there.
        source: digest of the source code of the run.
    """

    out: Path
    folder: Path
    source: str
    url: str | None = None

    @classmethod
    def here(cls, out: Path) -> Place:
        """The place of a run of this process."""
        mirror = Mirror.of(out)
        return cls(out.resolve(), Path.cwd(), source_digest(), mirror.url if mirror else None)

    def run(self, trial: Trial, run_trial: RunTrial, emit: Callable[[Event], None]) -> None:
        """Run a trial as if it were run there.

        Raises:
            StoreError: if this machine does not see the folders of the run.
            StudyError: if it has other code than the run: its results would be another trial's.
        """
        node = platform.node()
        if self.url is None and not (self.out / "study.json").is_file():
            raise StoreError(f"{node} does not see {self.out}: --out must be a folder that all nodes share")
        if not self.folder.is_dir():
            raise StoreError(f"{node} does not see {self.folder}: start the run in a folder that all nodes share")
        if source_digest() != self.source or library_versions() != trial.versions:
            raise StudyError(f"{node} has another version of seqmatch or of its libraries: install the same there")
        with chdir(self.folder):
            parts: list[tuple[Registry[Any], Component]] = [(TRAINERS, trial.trainer), (TASKS, trial.task)]
            for registry, component in [*parts, *((METRICS, metric) for metric in trial.metrics)]:
                entry = registry.entry(component.use)
                if entry.version != component.version:
                    raise StudyError(f"{node} has {entry.label}, and the run has {component.version}")
            store = self._store(node)
            if not self._left_here(store, trial):
                run_trial(trial, store.out, emit)

    def _store(self, node: str) -> Store:
        """The results folder as this machine has it."""
        if self.url is None:
            return Store(self.out)
        store = Store.at(self.url)
        try:
            store.pull(())
            store.study()
        except StoreError as error:
            raise StoreError(f"{node}: {error}") from error
        return store

    def _left_here(self, store: Store, trial: Trial) -> bool:
        """Whether a run before has finished the trial on this machine and could not write it to the URL; it is now."""
        if store.mirror is None or not store.is_finished(trial):
            return False
        store.mirror.push_missing([trial.label])
        return True

    def wait_for(self, trial: Trial, looks: int = 120, pause: Callable[[], None] = lambda: None) -> None:
        """Wait until this machine sees what another wrote down of a trial.

        Args:
            trial: that was run.
            looks: how often to look, at most.
            pause: waits between two looks.

        Raises:
            StoreError: if it never does.
        """
        if self.url is not None:
            if Mirror(self.url, self.out).pull_trial(trial.label):
                return
            raise StoreError(f"{self.url}/trials/{trial.label} was written on another node and is not there")
        trials = self.out / "trials"
        for _ in range(looks):
            os.listdir(trials)  # a network file system may remember what was absent until someone lists the folder
            if (trials / trial.label / "trial.json").is_file():
                return
            pause()
        written = trials / trial.label
        raise StoreError(f"{written} was written on another node: --out must be a folder that all nodes share")
