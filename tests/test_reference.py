"""The reference studies are tuned as their protocol says, and run with what won."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from harness.expansion import plan
from harness.study import load_study
from harness.trial import Trial

HERE = Path(__file__).parents[1] / "results" / "reference"
TRIED = sorted(path.stem.removeprefix("tries-") for path in HERE.glob("tries-*.csv"))


@pytest.fixture(scope="module")
def tune() -> ModuleType:
    found = importlib.util.spec_from_file_location("tune", HERE / "tune.py")
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    sys.modules["tune"] = module
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("task", ["language", "arithmetic", "text"])
def test_every_trainer_has_as_many_tries_on_data_that_is_not_judged_later(tune: ModuleType, task: str) -> None:
    trials = plan(tune.study_of(task)).trials
    reference = [trial for trial in plan("reference_main").trials if trial.task.name == task]
    assert len(trials) == len(tune.OWN) * len(tune.points(task)) * len(tune.SEEDS)
    assert {trial.trainer.use for trial in trials} == {trial.trainer.name for trial in reference} - {"pretrained"}
    assert not {trial.seed for trial in trials} & {trial.seed for trial in reference}
    assert {trial.split for trial in trials} == {"validation"}
    assert (trials[0].task.settings["seed"] == reference[0].task.settings["seed"]) == (task != "language")
    assert {json.dumps(trial.model) for trial in trials} == {json.dumps(trial.model) for trial in reference}
    assert {json.dumps(trial.budget) for trial in trials} == {json.dumps(trial.budget) for trial in reference}


@pytest.mark.parametrize("task", ["language", "arithmetic", "text"])
def test_trainers_share_what_they_have_in_common(tune: ModuleType, task: str) -> None:
    for number, point in enumerate(tune.points(task)):
        mine = {trial.trainer.use: trial for trial in plan(tune.study_of(task)).trials if number_of(trial) == number}
        rates = {trial.optimization["learning_rate"] for trial in mine.values()}
        assert rates == {point["learning_rate"]}
        cloning, match = (mine[name].trainer.settings for name in ("behavioral_cloning", "sequence_match_backspace"))
        assert (cloning["noise"], cloning["noise_kind"]) == (match["noise"], match["noise_kind"])
        assert mine["sequence_match"].trainer.settings["alpha"] == match["alpha"] == point["alpha"]


def number_of(trial: Trial) -> int:
    return int(trial.trainer.name.rpartition(".")[2])


@pytest.mark.parametrize("task", TRIED)
def test_what_won_is_what_the_study_has(tune: ModuleType, task: str) -> None:
    tries = pd.read_csv(HERE / f"tries-{task}.csv")
    metric, higher = tune.OBJECTIVES[task]
    drawn = tune.points(task)
    study, _ = load_study("reference_main")
    assert set(tries["metric"]) == {metric}
    for trainer, rows in tries.groupby("trainer"):
        assert sorted(rows["number"]) == list(range(len(drawn)))
        for row in rows.to_dict("records"):
            assert json.loads(row["settings"]) == tune.settings(trainer, drawn[row["number"]])
            assert row["min"] <= row["mean"] <= row["max"]
        best = rows.loc[rows["mean"].idxmax() if higher else rows["mean"].idxmin()]
        assert study.tasks[task]["trainers"][trainer] == json.loads(best["settings"])


def test_the_other_studies_learn_at_the_rate_of_the_tuned_likelihood() -> None:
    main, _ = load_study("reference_main")
    for name in ("reference_grid", "reference_regimes"):
        study, _ = load_study(name)
        tuned = main.tasks["language"]["trainers"]["mle"]["optimization"]
        assert {key: study.optimization[key] for key in tuned} == tuned
