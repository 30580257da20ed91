"""Worker processes of this machine, some of which are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
from faults import Deadly
from small_studies import TOYS, small_study, small_tables, to_toml, toy
from stateful import equal, stateful_study

import harness
from harness.engines.workers import Workers

STEP = "torch.optim:AdamW.step"
ROOT = TOYS.parents[2]


def start(out: Path, tmp_path: Path, workers: int, **changes) -> subprocess.Popen[bytes]:
    """Run a study in a process of its own, without a limit of threads from outside."""
    path = tmp_path / "study.toml"
    path.write_text(to_toml({**small_tables(), **changes}))
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environment |= {"PYTHONPATH": str(ROOT), "SAVE_SECONDS": "60"}
    command = [sys.executable, "-m", "harness", "run", str(path), "--out", str(out), "--workers", str(workers)]
    with (tmp_path / "shown").open("w") as shown:  # no pipe, that processes which outlive the run would hold open
        return subprocess.Popen(command, env=environment, start_new_session=True, stdout=shown, stderr=shown)


def children_when(condition, process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Wait for a condition, and return the processes that the run has started by then."""
    for _ in range(1200):
        if condition():
            return psutil.Process(process.pid).children(recursive=True)
        assert process.poll() is None, "the run ended too early"
        time.sleep(0.05)
    raise AssertionError("nothing happened in a minute")


def test_a_trial_whose_worker_is_killed_goes_on_from_its_checkpoint_to_the_same_bits(
    llama, whole, tmp_path, marks, capsys
):
    beyond_what_is_left = (STEP, 4, "after")
    deaths = [(STEP, 5, "after"), beyond_what_is_left]
    study, out = stateful_study(llama), tmp_path / "out"
    harness.run(study, out, engine=Deadly(Workers(2), "sequence_match_backspace", deaths, marks))
    assert len(list(marks.iterdir())) == 2
    assert capsys.readouterr().err.count("the worker process was killed (out of memory?); trying again") == 1
    equal(out, whole, study)


@pytest.mark.long
def test_workers_that_are_killed_in_a_write_leave_nothing_behind(llama, whole, tmp_path, marks, capsys):
    study, out = stateful_study(llama), tmp_path / "out"
    deaths = [("safetensors.torch:save_file", 1, "half"), ("pandas:DataFrame.to_parquet", 3, "half")]
    harness.run(study, out, engine=Deadly(Workers(1), "mle", deaths, marks))
    assert capsys.readouterr().err.count("the worker process was killed (out of memory?); trying again") == 2
    equal(out, whole, study)


@pytest.mark.long
def test_a_trial_that_kills_every_worker_is_a_failed_row_and_the_others_finish(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("harness.engines.RETRIES", 1)
    trainers = {"pretrained": {}, "shift": {"use": toy("Shift"), "fault": "die"}}
    results = harness.run(small_study(trainers=trainers), tmp_path, workers=2)
    status = results.groupby(["trainer", "seed"])["status"].first()
    assert status["shift", 0] == "failed"
    assert (status.drop(("shift", 0)) == "finished").all()
    (record,) = [
        record
        for record in map(json.loads, (path.read_text() for path in tmp_path.glob("trials/*/trial.json")))
        if record["status"] == "failed"
    ]
    assert record["traceback"] == "the worker process was killed 2 times (out of memory?)"
    shown = capsys.readouterr().err
    assert shown.count("trying again") == 1
    assert f"failed: {record['traceback']}" in shown


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
def test_every_pool_of_threads_is_pinned_in_the_first_trial_and_in_later_ones(workers, tmp_path):
    tasks = {"letters": {"use": toy("Letters"), "metrics": {"pools": {"use": toy("Pools")}}}}
    process = start(tmp_path / "out", tmp_path, workers, tasks=tasks, threads=1)
    assert process.wait() == 0, (tmp_path / "shown").read_text()
    results = harness.load_results(tmp_path / "out")
    assert set(results["metric"]) == {"fewest", "most"}
    assert results["value"].tolist() == [1] * 8


@pytest.mark.long
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_run_that_is_stopped_leaves_no_worker_and_goes_on_to_the_same_table(number, code, tmp_path):
    trainers = {"pretrained": {}, "slow": {"use": toy("SlowToSave")}}
    study, out = small_study(seeds=1, save_policies=True, trainers=trainers), tmp_path / "out"
    process = start(out, tmp_path, 2, seeds=1, save_policies=True, trainers=trainers)
    finished = out / "trials"
    workers = children_when(
        lambda: list(finished.glob(".tmp-slow*/policy/*.json")) and list(finished.glob("pretrained*")), process
    )
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    assert process.wait() == code
    assert "Traceback" not in (tmp_path / "shown").read_text()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    before = {path: path.stat().st_mtime_ns for path in finished.glob("pretrained*/trial.json")}
    table = harness.run(study, out)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    again = harness.run(study, tmp_path / "whole")
    pd.testing.assert_frame_equal(table.drop(columns="seconds"), again.drop(columns="seconds"))
