"""The directory of a trial, put in place whole."""

from __future__ import annotations

import json
import uuid
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime

from harness.digests import RECORD, digests
from harness.execution import Result
from harness.provenance import git_state, machine, source_digest
from harness.seeding import axis_seeds
from harness.store import Store
from harness.tables import long_table, series_table
from harness.trial import Trial
from harness.trial_log import Log
from harness.writing import SCRATCH, move_into_place, writing


def write_trial(store: Store, trial: Trial, log: Log, result: Result | None, traceback: str | None = None) -> None:
    """Put a trial's directory in place, whole; a failure does not take the place of results.

    Args:
        store: where it goes.
        trial: what was run.
        log: its timings and learning curve.
        result: what it measured; None if it failed.
        traceback: of the failure.

    Raises:
        StoreError: if the folder cannot be written.
    """
    import pandas as pd

    from trainers.processes import Processes

    if result is None and store.has_run(trial, "finished"):
        return  # run again for its policy alone
    with writing(store.out):
        scratch = store.trials / f"{SCRATCH}{trial.label}-{uuid.uuid4().hex[:8]}"
        scratch.mkdir(parents=True)
        if log.curve or result is not None:
            pd.DataFrame(log.curve or {"step": []}).to_parquet(scratch / "curve.parquet")
        if result is not None:
            long_table(result.rows).to_parquet(scratch / "results.parquet")
            result.generations.to_parquet(scratch / "generations.parquet")
            series_table(result.series).to_parquet(scratch / "series.parquet")
            if trial.evaluation:
                long_table(result.evaluations).to_parquet(scratch / "evaluations.parquet")
            if trial.save_policy:
                result.policy.save(scratch / "policy")
        record = {
            "identity": trial.identity,
            "status": "failed" if result is None else "finished",
            "traceback": traceback,
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "timings": log.timings,
            "unmeasured": [] if result is None else result.unmeasured,
            "parameters": None if result is None else result.policy.parameters,
            "seeds": axis_seeds(trial.seed),
            "specification": asdict(trial),
            "source": source_digest(),
            "git": git_state(),
            "machine": {**machine(), "processes": Processes.present().size},
            "files": digests(scratch),
        }
        (scratch / RECORD).write_text(json.dumps(record, indent=1))
        with store.mirror.trial(trial.label).moving() if store.mirror else nullcontext():
            move_into_place(scratch, store.trials / trial.label)
    if store.mirror:
        store.mirror.trial(trial.label).push()
