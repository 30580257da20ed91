"""A run holds its results folder: nobody else writes there, and what killed processes left behind is gone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from harness.errors import StoreError
from harness.expansion import Plan
from harness.store import Store
from harness.validation import plain
from harness.writing import SCRATCH, write_file, writing


@contextmanager
def hold(store: Store, plan: Plan) -> Iterator[None]:
    """Hold a results folder for one run of a study: lock it, clean up after a killed run, write down the study.

    Raises:
        StoreError: if another run holds the folder, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    with writing(store.out):
        store.trials.mkdir(parents=True, exist_ok=True)
        lock = FileLock(store.out / ".lock", timeout=0)
    try:
        with lock:
            with writing(store.out):
                _clean(store, plan)
                content = _content(store, plan)
                write_file(store.out / "study.json", lambda path: path.write_text(json.dumps(content, indent=1)))
            store.push(store.out / "study.json")
            if store.mirror:
                store.mirror.push_missing(trial["label"] for trial in content["trials"])
            yield
            with writing(store.out):
                _clean(store, plan)  # after workers that were killed while the run went on
    except Timeout:
        raise StoreError(f"{store.place} is in use by another run: wait for it, or choose another --out") from None


def _content(store: Store, plan: Plan) -> dict[str, Any]:
    """What ``study.json`` says: the trials that are to run, and those of the study that have been run before."""
    chosen = {trial.identity for trial in plan.trials}
    trials = [trial for trial in plan.every if trial.identity in chosen or store.has_run(trial)]
    tasks = {trial.task.name for trial in trials}
    return {
        "study": plain(plan.study),
        "headlines": {task: numbers for task, numbers in plan.headlines.items() if task in tasks},
        "trials": [{"label": trial.label, "identity": trial.identity, **asdict(trial)} for trial in trials],
    }


def _clean(store: Store, plan: Plan) -> None:
    """Delete what killed processes were writing, and checkpoints that no trial of the study waits for."""
    for folder in (store.out, store.trials, store.checkpoints):
        for leftover in folder.glob(f"{SCRATCH}*"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    pending = {trial.label for trial in plan.every if not store.is_finished(trial)}
    for file in store.checkpoints.glob("*.safetensors"):
        if file.stem not in pending:
            file.unlink()
    if store.mirror:
        store.mirror.clean(pending)
