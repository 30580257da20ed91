import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from small_studies import TOYS, small_study, small_tables, to_toml, toy

import harness
from harness.errors import RequestError
from harness.expansion import plan

ROOT = TOYS.parents[2]


def shift(**settings):
    return {"pretrained": {}, "shift": {"use": toy("Shift"), **settings}}


def equal(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Equal but for the clock on the wall."""
    pd.testing.assert_frame_equal(one.drop(columns="seconds"), other.drop(columns="seconds"))


def folders(out: Path) -> set[str]:
    return {path.name for path in (out / "trials").iterdir()}


def start(out: Path, tmp_path: Path, **changes) -> subprocess.Popen[bytes]:
    """Run a study in a process of its own."""
    path = tmp_path / "study.toml"
    path.write_text(to_toml({**small_tables(), **changes}))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SAVE_SECONDS": "60"}
    command = [sys.executable, "-m", "harness", "run", str(path), "--out", str(out)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(condition, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        if condition():
            return
        assert process.poll() is None, "the run ended too early"
        time.sleep(0.05)
    raise AssertionError("nothing happened in a minute")


def test_a_second_run_trains_nothing_and_returns_the_same_table(tmp_path, monkeypatch, capsys):
    first = harness.run(small_study(), tmp_path)
    monkeypatch.setattr("harness.engine.run_trial", lambda *_: pytest.fail("a trial was run again"))
    monkeypatch.setattr("harness.preflight.prepare", lambda *_: pytest.fail("data were read again"))
    second = harness.run(small_study(), tmp_path)
    pd.testing.assert_frame_equal(first, second)
    assert "4 trials were finished before" in capsys.readouterr().err


def test_new_seeds_are_added_to_what_is_there(tmp_path):
    harness.run(small_study(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "trials").glob("*/trial.json")}
    more = harness.run(small_study(), tmp_path, overrides=["seeds=3"])
    assert sorted(more["seed"].unique()) == [0, 1, 2]
    assert len(folders(tmp_path)) == 6
    for path, stamp in before.items():
        assert path.stat().st_mtime_ns == stamp
    fewer = harness.run(small_study(), tmp_path, overrides=["seeds=[2]"])
    assert set(fewer["seed"]) == set(harness.load_results(tmp_path)["seed"]) == {2}


def check_failed(out: Path, results: pd.DataFrame, shown: str, error: str) -> None:
    """One trial has failed with an error, and the other three have not."""
    failed = results[results["status"] != "finished"]
    assert failed[["trainer", "seed", "decoder", "status"]].to_numpy().tolist() == [["shift", 0, "ancestral", "failed"]]
    assert failed["metric"].tolist() == [None]
    assert failed["value"].isna().all()
    assert len(results["trial"].unique()) == 4
    (record,) = [
        record
        for record in map(json.loads, (path.read_text() for path in out.glob("trials/*/trial.json")))
        if record["status"] == "failed"
    ]
    assert error in record["traceback"]
    assert "toys.py" in record["traceback"]
    assert re.search(rf"shift-letters-s0-\w+ failed in [\d.]+ s: {error}\n", shown)


@pytest.mark.parametrize(
    ("fault", "error", "workers"),
    [
        ("raise", "RuntimeError: a bug in the trainer", 1),
        ("nan", "TrainerError: the loss is nan at step 3", 1),
        pytest.param("nan", "TrainerError: the loss is nan at step 3", 2, marks=pytest.mark.long),
    ],
)
def test_a_trial_that_raises_is_a_failed_row_and_the_others_go_on(tmp_path, capsys, fault, error, workers):
    results = harness.run(small_study(trainers=shift(fault=fault)), tmp_path, workers=workers)
    check_failed(tmp_path, results, capsys.readouterr().err, error)


def test_results_do_not_depend_on_the_number_of_workers_where_a_trial_raises_too(tmp_path, capsys):
    tasks = {"letters": {"use": toy("Letters"), "metrics": {"threads": {"use": toy("Threads")}, "accuracy": {}}}}
    study = small_study(tasks=tasks, trainers=shift(fault="raise"))
    results = harness.run(study, tmp_path / "two", workers=2)
    check_failed(tmp_path / "two", results, capsys.readouterr().err, "RuntimeError: a bug in the trainer")
    equal(results, harness.run(study, tmp_path / "one"))


def test_a_failed_trial_is_tried_again_and_finished_ones_are_not(tmp_path):
    flag = tmp_path / "flag"
    flag.touch()
    study = small_study(trainers={"flaky": {"use": toy("Flaky"), "flag": str(flag)}, "pretrained": {}})
    first = harness.run(study, tmp_path / "out")
    assert set(first.loc[first["status"] == "failed", "trainer"]) == {"flaky"}
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/trials/pretrained*/trial.json")}
    flag.unlink()
    second = harness.run(study, tmp_path / "out")
    assert set(second["status"]) == {"finished"}
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert len(folders(tmp_path / "out")) == 4


def test_an_interrupt_stops_the_run_and_keeps_finished_trials(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        harness.run(small_study(trainers=shift(fault="interrupt", fault_seed=1)), tmp_path)
    assert len(folders(tmp_path)) == 3
    status = harness.load_results(tmp_path).groupby(["trainer", "seed"])["status"].first()
    assert status["shift", 1] == "missing"
    assert (status.drop(("shift", 1)) == "finished").all()


@pytest.mark.long
def test_a_run_killed_in_the_middle_of_a_write_goes_on_to_the_same_table(tmp_path):
    trainers = {"pretrained": {}, "slow": {"use": toy("SlowToSave")}}
    study, out = small_study(save_policies=True, trainers=trainers), tmp_path / "killed"
    process = start(out, tmp_path, save_policies=True, trainers=trainers)
    wait_for(lambda: list(out.glob("trials/.tmp-slow*/policy/action_space.json")), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    partial = harness.load_results(out).groupby(["trainer", "seed"])["status"].first()
    assert partial.to_dict() == {
        ("pretrained", 0): "finished",
        ("pretrained", 1): "missing",
        ("slow", 0): "missing",
        ("slow", 1): "missing",
    }
    finished = {path: path.stat().st_mtime_ns for path in out.glob("trials/pretrained*/trial.json")}
    continued = harness.run(study, out)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    equal(continued, harness.run(study, tmp_path / "whole"))
    assert folders(out) == folders(tmp_path / "whole") == {trial.label for trial in plan(study).trials}
    for folder in (out / "trials").iterdir():
        assert {path.name for path in folder.iterdir()} == {
            "trial.json",
            "results.parquet",
            "generations.parquet",
            "series.parquet",
            "curve.parquet",
            "policy",
        }


def test_a_saved_policy_opens_and_asking_for_it_later_runs_the_trial_again(tmp_path):
    from transformers import AutoModelForCausalLM

    study = small_study(seeds=1, trainers={"pretrained": {}})
    harness.run(study, tmp_path)
    assert not list(tmp_path.glob("trials/*/policy"))
    harness.run(study, tmp_path, overrides=["save_policies=true"])
    (policy,) = tmp_path.glob("trials/*/policy")
    assert AutoModelForCausalLM.from_pretrained(policy).config.hidden_size == 8


def test_results_of_other_source_code_are_kept_with_one_warning(tmp_path, monkeypatch, capsys):
    harness.run(small_study(), tmp_path)
    harness.run(small_study(), tmp_path)
    assert "warning" not in capsys.readouterr().err
    monkeypatch.setattr("harness.engine.source_digest", lambda: "other")
    harness.run(small_study(), tmp_path)
    error = capsys.readouterr().err
    assert error.count("warning: 4 of them were computed by other source code") == 1


def test_no_workers_is_an_error(tmp_path):
    with pytest.raises(RequestError, match="workers must be at least 1, got 0"):
        harness.run(small_study(), tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_the_whole_house_runs_end_to_end(tmp_path):
    fresh = {**small_tables()["model"]["fresh"], "max_position_embeddings": 64}
    study = small_study(
        seeds=1,
        model={"fresh": fresh},
        budget={"steps": 4},
        trainers={
            "pretrained": {},
            "mle": {},
            "behavioral_cloning": {},
            "sequence_match": {"refresh_every": 1, "refresh": 2, "cloning_share": 0.25},
            "sequence_match_backspace": {"refresh_every": 1, "refresh": 2, "cloning_share": 0.25},
        },
        tasks={
            "arithmetic": {"train": 20, "test": 5, "validation": 1, "max_digits": 1},
            "language": {"train": 200, "test": 5, "max_length": 4},
        },
    )
    results = harness.run(study, tmp_path)
    assert results["status"].eq("finished").all(), results[["trainer", "task", "status"]].drop_duplicates()
    assert results["trial"].nunique() == 10
