"""A trainer in real trials of the harness: beside another trainer, interrupted and resumed, and in worker processes."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
from harness.study import Study
from harness.testing.battery import CheckError, Tier, require, skip
from harness.testing.trainer.battery import TRAINER
from harness.testing.trainer.subject import MODEL, TrainerSubject
from harness.validation import plain
from trainers.base import Meter

if TYPE_CHECKING:
    import pandas as pd

TASK = f"{Path(__file__).with_name('copying.py')}:Copying"
STEPS = 4


def study_of(subject: TrainerSubject, **changes: Any) -> Study:
    """Two trials of the trainer, a few steps each."""
    entry = subject.plugin.entry
    use = entry.target if entry.distribution == "local file" else entry.name
    tables: dict[str, Any] = {
        "name": "conformance",
        "seeds": 2,
        "model": {"fresh": plain(MODEL)},
        "budget": {"steps": STEPS},
        "optimization": {"batch_size": 4, "log_every": 1},
        "trainers": {"subject": {"use": use, **subject.plugin.settings}},
        "tasks": {"copying": {"use": TASK}},
    }
    return Study(**{**tables, **changes})


def run(study: Study, folder: Path, workers: int = 1) -> pd.DataFrame:
    """The long table without its seconds; what the run would show is not shown."""
    with redirect_stderr(io.StringIO()):
        return harness.run(study, folder, workers=workers).drop(columns="seconds")


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder, which also holds the cache of tokenizers."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder) / "cache")
        yield Path(folder)


@contextmanager
def interrupted_after(steps: int) -> Iterator[None]:
    """Raise KeyboardInterrupt in the process after that many optimiser steps, over all trainings together."""
    counted, original = 0, Meter.train

    def train(meter: Meter, tokens: int) -> None:
        nonlocal counted
        original(meter, tokens)
        counted += 1
        if counted == steps:
            raise KeyboardInterrupt

    Meter.train = train  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Meter.train = original  # type: ignore[method-assign, assignment]


def _same(one: pd.DataFrame, other: pd.DataFrame, what: str, advice: str) -> None:
    """Fail unless two tables are equal, bit for bit."""
    if one.equals(other):
        return
    rows = one.merge(other, on=["trial", "decoder", "metric"], suffixes=("", "_other"))
    unequal = rows[rows["value"] != rows["value_other"]]
    seen = "their rows differ" if unequal.empty else "{metric} is {value} and {value_other}".format(**unequal.iloc[0])
    raise CheckError(f"{what}: {seen}; {advice}")


@TRAINER.check()
def a_trial_runs_beside_another_trainer(subject: TrainerSubject) -> None:
    """In a study beside ``mle``, both trainers' trials finish with the same numbers in the table."""
    with scratch() as folder:
        study = study_of(subject, seeds=1)
        table = run(
            study_of(subject, seeds=1, trainers={"reference": {"use": "mle"}, **study.trainers}), folder / "out"
        )
    found = table[table["trainer"] == "subject"]
    states = sorted(set(found["status"]))
    require(
        states == ["finished"],
        f"the trial ended as {', '.join(states)}: run `seqmatch run` on a small study to see why",
    )
    metrics = {name: set(table.loc[table["trainer"] == name, "metric"]) for name in ("reference", "subject")}
    lost = sorted(metrics["reference"] - metrics["subject"])
    require(not lost, f"the table lacks {', '.join(lost)} for the trainer")
    require(
        found["step"].max() <= STEPS and (found["step"].max() > 0 or not subject.plugin.cls.learns),
        f"the table says step {found['step'].max()} of a budget of {STEPS}",
    )


@TRAINER.check()
def an_interrupted_study_resumes(subject: TrainerSubject) -> None:
    """A run that is interrupted in a training, and run again, gives the table of one that was not, bit for bit."""
    study = study_of(subject)
    with scratch() as folder:
        whole = run(study, folder / "whole")
        if not whole["step"].max() > 1:
            skip("the trainer takes no second step, so there is no middle to interrupt it in")
        first = int(whole.loc[whole["seed"] == 0, "step"].max())
        try:
            with interrupted_after(first + 1):
                run(study, folder / "parts")
        except KeyboardInterrupt:
            pass
        else:
            raise CheckError(
                "a KeyboardInterrupt in the second training did not end the run: catch Exception, not BaseException"
            )
        done = [path.name for path in (folder / "parts" / "trials").iterdir()]
        require(
            len(done) == 1, f"after an interrupt in the second of two trials there are {len(done)} results, not one"
        )
        resumed = run(study, folder / "parts")
    _same(
        whole,
        resumed,
        "a study that was interrupted and resumed, against one that was not",
        "a training must not depend on those before it in the process",
    )


@TRAINER.check(Tier.FULL)
def workers_give_the_same_table(subject: TrainerSubject) -> None:
    """Two worker processes give the table that one process gives, bit for bit."""
    study = study_of(subject)
    with scratch() as folder:
        one, two = run(study, folder / "one"), run(study, folder / "two", workers=2)
    _same(
        one, two, "one process against two", "take nothing from the process: no hash order, no module state, no clock"
    )
