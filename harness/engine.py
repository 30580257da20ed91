"""Runs the trials of a study on an engine: in this process, in worker processes, or on a cluster."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.engines import Engine
from harness.engines.choice import choose
from harness.engines.serial import Serial
from harness.errors import StoreError, StudyError
from harness.execution import execute
from harness.expansion import Plan, plan
from harness.holding import hold
from harness.launch import Launch, launch, launched, on_one_machine
from harness.places import mirror_at
from harness.preflight import check_trials, check_writable
from harness.progress import Display, Event, Reporter, display, quiet
from harness.provenance import source_digest
from harness.reporting import chosen, reports
from harness.store import Store
from harness.study import Study
from harness.trial import Trial
from harness.trial_log import Log
from harness.trial_writing import write_trial

if TYPE_CHECKING:
    import pandas as pd


def run(
    study: str | Path | Study,
    out: str | Path,
    *,
    workers: int = 1,
    engine: Engine | None = None,
    overrides: Iterable[str] = (),
    report_to: Iterable[str] = (),
) -> pd.DataFrame:
    """Run the trials of a study that are not finished yet, and return the long table over all of them.

    A trial that raises is recorded as failed and the others go on; it is tried again by the next run. Killing a run
    loses of the trials that were running what they did since their last checkpoint. A trial whose worker process is
    killed goes on from there in another, ``harness.engines.RETRIES`` times.

    Args:
        study: name of a bundled study, path of a TOML file, or a study.
        out: results folder, or its URL.
        workers: processes; 1 runs in this one. Results do not depend on it.
        engine: runs the trials instead of ``workers``: ``harness.engines.ray.Ray(address)`` on a cluster.
        overrides: ``a.b=c``, see ``load_study``.
        report_to: experiment trackers that are told while trials run, see ``harness.reporting.TRACKERS``.

    Returns:
        The columns of ``harness.tables.COLUMNS``.

    Raises:
        StudyError: if the study cannot be run as written; nothing has been written then.
        RequestError: if ``workers`` is below 1.
        StoreError: if the results folder cannot be read or written.
        RequestError: if a tracker is unknown or not installed.
    """
    return run_plan(plan(study, overrides), out, engine or choose(workers=workers), report_to)


def run_plan(planned: Plan, out: str | Path, engine: Engine, report_to: Iterable[str] = ()) -> pd.DataFrame:
    """Run a study that has been expanded already on an engine, see ``run``."""
    if launched() and not isinstance(engine, Serial):
        raise StudyError(
            "the processes of a launch train every trial together: run without workers and engine, or without torchrun"
        )
    if launched() and mirror_at(out) and not on_one_machine():
        raise StudyError(f"a launch on several machines needs a results folder that all of them share, and not {out}")
    run_one = partial(run_trial, report_to=chosen(report_to))
    together, store = launch(), Store.at(out)
    if together and not together.leads:
        return together.follow(planned.trials, store)
    check_writable(store.out)
    store.pull(planned.every)
    finished = [trial for trial in planned.trials if store.is_finished(trial)]
    done = {trial.identity for trial in finished}
    pending = [trial for trial in planned.trials if trial.identity not in done]
    with display(len(planned.trials), len(finished)) as shown:
        _note_finished(finished, store, shown)
        if pending:
            with quiet():
                check_trials(pending, shown.note)
        with hold(store, planned):
            if together:
                _run_together(together, pending, store, shown, run_one)
            elif pending:
                engine.run(pending, store.out, run_one, shown)
            table = store.write_results()
    return together.announced(table) if together else table


def run_trial(trial: Trial, out: Path, emit: Callable[[Event], None], report_to: Sequence[str] = ()) -> str | None:
    """Run one trial and write down what came of it, a failure too.

    Args:
        trial: what to run.
        out: results folder.
        emit: told about progress.
        report_to: names of trackers.

    Returns:
        Traceback of a failure.

    Raises:
        StoreError: if the result cannot be written.
    """
    store, reporter, started = Store(out), Reporter(trial.label, emit), time.monotonic()
    reporter.start()
    with quiet(), reports(report_to, trial, out, reporter.note) as sent:
        log = Log(sent=sent)
        try:
            store.pull_checkpoint(trial)
            result = execute(trial, reporter, log, store.checkpoint(trial))
            sent.measured(result.rows)
            write_trial(store, trial, log, result)
        except StoreError:
            raise
        except Exception as error:
            problem = traceback.format_exc()
            write_trial(store, trial, log, None, problem)
            reporter.end("failed", time.monotonic() - started, f"{type(error).__name__}: {error}")
            return problem
        store.drop_checkpoint(trial)
        reporter.end("finished", time.monotonic() - started)
        return None


def _run_together(
    together: Launch, trials: Sequence[Trial], store: Store, shown: Display, run_one: Callable[..., str | None]
) -> None:
    for trial in trials:  # before the others look for it
        store.pull_checkpoint(trial)
    together.announced([trial.identity for trial in trials])
    for trial in trials:
        together.meet(trial, run_one(trial, store.out, shown.show))


def _note_finished(finished: Sequence[Trial], store: Store, shown: Display) -> None:
    if not finished:
        return
    shown.note(f"{len(finished)} trials were finished before and are not run again")
    other = [trial for trial in finished if store.source(trial) != source_digest()]
    if other:
        shown.note(
            f"warning: {len(other)} of them were computed by other source code than this, the first in "
            f"{store.place}/trials/{other[0].label}; delete their folders, or choose another --out, to compute them "
            "again"
        )
