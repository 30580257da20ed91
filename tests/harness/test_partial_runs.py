"""A run of a part of a study, and of what has been run before, loses nothing."""

import json

import pandas as pd
import pytest
from small_studies import small_study, toy

import harness
from harness.engine import run_plan
from harness.engines.serial import Serial
from harness.expansion import plan
from harness.store import Store

TWO_TASKS = {"letters": {"use": toy("Letters")}, "words": {"use": toy("Letters")}}


def test_a_run_of_one_trainer_keeps_what_the_others_did(tmp_path):
    whole = plan(small_study(tasks=TWO_TASKS))
    everything = run_plan(whole, tmp_path, Serial())
    pd.testing.assert_frame_equal(run_plan(whole.only(["shift"], ["words"]), tmp_path, Serial()), everything)
    assert list(Store(tmp_path).study()["headlines"]) == ["letters", "words"]


def test_what_has_not_run_is_not_missing_from_a_part_of_a_study(tmp_path):
    found = run_plan(plan(small_study(tasks=TWO_TASKS)).only(["shift"], ["words"]), tmp_path, Serial())
    assert set(found["status"]) == {"finished"}
    assert {*zip(found["trainer"], found["task"], strict=True)} == {("shift", "words")}
    assert list(Store(tmp_path).study()["headlines"]) == ["words"]


def test_a_run_of_one_trainer_leaves_the_checkpoints_of_the_others(tmp_path):
    whole, store = plan(small_study()), Store(tmp_path)
    longer = plan(small_study(seeds=3)).trials[-1]
    mine, others, foreign = (store.checkpoint(trial) for trial in (*whole.trials[:2], longer))
    assert {mine.name.split("-")[0], others.name.split("-")[0]} == {"pretrained", "shift"}
    store.checkpoints.mkdir(parents=True)
    for path in (mine, others, foreign):
        path.write_bytes(b"the state of a training")
    run_plan(whole.only([mine.name.split("-")[0]]), tmp_path, Serial())
    assert set(store.checkpoints.iterdir()) == {others}


def test_results_are_not_replaced_by_a_failure_to_get_their_policy(tmp_path, capsys):
    flag = tmp_path / "flag"
    trainers = {"flaky": {"use": toy("Flaky"), "flag": str(flag)}}
    before = harness.run(small_study(trainers=trainers), tmp_path / "out")
    flag.touch()
    after = harness.run(small_study(trainers=trainers, save_policies=True), tmp_path / "out")
    pd.testing.assert_frame_equal(after, before)
    assert "RuntimeError: the flag is up" in capsys.readouterr().err
    flag.unlink()
    harness.run(small_study(trainers=trainers, save_policies=True), tmp_path / "out")
    assert len(list(tmp_path.glob("out/trials/*/policy"))) == 2


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("text", "TrainerError: a row of the learning curve must have numbers alone: could not convert"),
        ("no step", "TrainerError: a row of the learning curve needs a 'step'"),
    ],
)
def test_a_row_of_the_learning_curve_that_is_none_fails_its_trial_alone(tmp_path, capsys, row, problem):
    trainers = {"reports": {"use": toy("Reports"), "row": row}, "shift": {"use": toy("Shift")}}
    found = harness.run(small_study(trainers=trainers, seeds=1), tmp_path)
    assert found.groupby("trainer")["status"].first().to_dict() == {"reports": "failed", "shift": "finished"}
    assert problem in capsys.readouterr().err


def test_a_tensor_of_one_element_is_a_number_of_the_learning_curve(tmp_path):
    harness.run(small_study(trainers={"reports": {"use": toy("Reports")}}, seeds=1), tmp_path)
    (curve,) = (pd.read_parquet(path) for path in tmp_path.glob("trials/*/curve.parquet"))
    assert curve.to_dict("records") == [{"step": 1, "loss": 0.5}]


def test_a_policy_that_cannot_be_written_fails_its_trial_alone(tmp_path):
    trainers = {"unsaved": {"use": toy("CannotBeSaved")}, "shift": {"use": toy("Shift")}}
    found = harness.run(small_study(trainers=trainers, seeds=1, save_policies=True), tmp_path)
    assert found.groupby("trainer")["status"].first().to_dict() == {"shift": "finished", "unsaved": "failed"}
    (record,) = (json.loads(path.read_text()) for path in tmp_path.glob("trials/unsaved*/trial.json"))
    assert "these weights share memory" in record["traceback"]
