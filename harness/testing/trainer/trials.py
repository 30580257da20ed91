"""A trainer in real trials of the harness: beside another trainer, interrupted and resumed, and in worker processes."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import harness
from harness.study import Study
from harness.testing.battery import CheckError, Tier, require, skip
from harness.testing.tracebacks import last_lines
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
    tables: dict[str, Any] = {
        "name": "conformance",
        "seeds": 2,
        "model": {"fresh": plain(MODEL)},
        "budget": {"steps": STEPS},
        "optimization": {"batch_size": 4, "log_every": 1, "learning_rate": 1e-2},
        "trainers": {"subject": {"use": subject.plugin.address, **subject.plugin.settings}},
        "tasks": {"copying": {"use": TASK}},
    }
    return Study(**{**tables, **changes})


@dataclass(frozen=True)
class Results:
    """What a run leaves, without its seconds.

    Attributes:
        table: the long table.
        curves: the learning curves, one trial below the other.
    """

    table: pd.DataFrame
    curves: pd.DataFrame

    @property
    def states(self) -> list[str]:
        """How trials of the trainer ended."""
        return sorted(set(self.table.loc[self.table["trainer"] == "subject", "status"]))


def run(study: Study, folder: Path, workers: int = 1) -> Results:
    """Run a study; what the run would show is not shown."""
    import pandas as pd

    with redirect_stderr(io.StringIO()):
        table = harness.run(study, folder, workers=workers)
    curves = [
        pd.read_parquet(file).assign(trial=file.parent.name) for file in sorted(folder.glob("trials/*/curve.parquet"))
    ]
    both = table, pd.concat(curves, ignore_index=True) if curves else pd.DataFrame()
    return Results(*(each.drop(columns="seconds", errors="ignore") for each in both))


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

    with patch.object(Meter, "train", train):
        yield


def _same(one: Results, other: Results, what: str, advice: str) -> None:
    """Fail unless two runs gave the same, bit for bit."""
    require(one.curves.equals(other.curves), f"{what}: the learning curves differ; {advice}")
    if one.table.equals(other.table):
        return
    rows = one.table.merge(other.table, on=["trial", "decoder", "metric"], suffixes=("", "_other"))
    unequal = rows[rows["value"] != rows["value_other"]]
    seen = "their rows differ" if unequal.empty else "{metric} is {value} and {value_other}".format(**unequal.iloc[0])
    raise CheckError(f"{what}: {seen}; {advice}")


@TRAINER.check()
def a_trial_runs_beside_another_trainer(subject: TrainerSubject) -> None:
    """In a study beside ``mle``, both trainers' trials finish with the same numbers in the table."""
    trainers = {"reference": {"use": "mle"}, **study_of(subject).trainers}
    with scratch() as folder:
        results = run(study_of(subject, seeds=1, trainers=trainers), folder / "out")
        problems = list(last_lines(folder))
    require(
        results.states == ["finished"],
        f"the trial ended as {', '.join(results.states)}: {'; '.join(problems) or 'no record'}",
    )
    table = results.table
    found = table[table["trainer"] == "subject"]
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
        if whole.states != ["finished"]:
            skip(f"trials end as {', '.join(whole.states)} before they are interrupted")
        steps = whole.table.groupby("seed")["step"].max()
        if steps.max() < 2:
            skip("the trainer takes no second step, so there is no middle to interrupt it in")
        try:
            with interrupted_after(int(steps[0]) + 1):
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
