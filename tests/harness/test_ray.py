"""A study on a real Ray cluster of several nodes on this machine, through the deaths of workers and of a node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest
from faults import Deadly
from ray.cluster_utils import Cluster
from small_studies import TOYS, small_study, small_tables, to_toml, toy
from stateful import equal, stateful_study

import harness
from harness.engines.ray import Ray
from harness.engines.ray_cluster import connected, lacking
from harness.errors import StudyError
from harness.expansion import plan

STEP = "torch.optim:AdamW.step"
SMALL = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
ROOT = TOYS.parents[2]
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head that runs no trials, and two nodes of one core."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{TOYS.parent}")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args={**SMALL, "num_cpus": 0, "include_dashboard": False})
        for _ in range(2):
            cluster.add_node(**SMALL)
        yield cluster
        cluster.shutdown()


def wait_to_be_killed(mark: Path) -> None:
    """Say on which node this worker is, and wait for the death of that node."""
    import ray

    mark.write_text(ray.get_runtime_context().get_node_id())
    signal.pause()


def kill_the_node_of(mark: Path, cluster: Cluster) -> None:
    while not (mark.exists() and mark.read_text()):
        time.sleep(0.05)
    (node,) = [node for node in cluster.list_all_nodes() if node.node_id == mark.read_text()]
    cluster.remove_node(node, allow_graceful=False)


def test_a_study_one_of_whose_workers_is_killed_ends_with_the_same_bits(cluster, llama, whole, tmp_path, marks, capsys):
    study, out = stateful_study(llama), tmp_path / "out"
    beyond_what_is_left = (STEP, 4, "after")
    deaths = [(STEP, 5, "after"), beyond_what_is_left]
    harness.run(study, out, engine=Deadly(Ray(cluster.address), "sequence_match_backspace", deaths, marks))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("the worker process was killed (out of memory?); trying again") == 1
    assert "[2/2]" in shown.err
    equal(out, whole, study)


def test_failures_are_rows_threads_are_pinned_and_the_others_finish(cluster, tmp_path, capsys):
    trainers = {
        "pretrained": {},
        "raises": {"use": toy("Shift"), "fault": "raise"},
        "dies": {"use": toy("Shift"), "fault": "die"},
    }
    tasks = {"letters": {"use": toy("Letters"), "metrics": {"pools": {"use": toy("Pools")}}}}
    study = small_study(trainers=trainers, tasks=tasks, threads=1)
    results = harness.run(study, tmp_path, engine=Ray(cluster.address))
    status = results.groupby(["trainer", "seed"])["status"].first()
    assert status["raises", 0] == status["dies", 0] == "failed"
    assert (status.drop([("raises", 0), ("dies", 0)]) == "finished").all()
    assert results["value"].dropna().tolist() == [1] * 8
    shown = capsys.readouterr().err
    assert "failed: the worker process was killed 3 times (out of memory?)" in shown
    assert shown.count("RuntimeError: a bug in the trainer") == 1


def test_a_study_one_of_whose_nodes_is_killed_ends_with_the_same_bits(cluster, llama, whole, tmp_path, marks, capsys):
    study, out = stateful_study(llama), tmp_path / "out"
    engine = Deadly(Ray(cluster.address), "sequence_match_backspace", [(STEP, 5, "after")], marks, wait_to_be_killed)
    killer = threading.Thread(target=kill_the_node_of, args=(marks / "0", cluster), daemon=True)
    killer.start()
    harness.run(study, out, engine=engine)
    killer.join(timeout=60)
    assert len(cluster.list_all_nodes()) == 2
    assert capsys.readouterr().err.count("trying again") == 1
    equal(out, whole, study)


def test_what_no_node_has_is_said(cluster):
    study = small_study(trainers={"pretrained": {"resources": {"gpus": 2}}})
    with connected(cluster.address, plan(study).trials) as lacks:
        assert lacks == lacking(plan(study).trials) == ["no node has 1 CPUs and 2 GPUs, which trials want"]
        assert lacking(plan(small_study()).trials) == []


def test_a_cluster_that_the_run_has_started_ends_with_it_and_an_interrupt_keeps_what_is_finished(tmp_path):
    trainers = {"pretrained": {}, "slow": {"use": toy("SlowToSave")}}
    changes = {"seeds": 1, "save_policies": True, "trainers": trainers, "resources": {"cpus": 0.5}}
    study, out = tmp_path / "study.toml", tmp_path / "out"
    study.write_text(to_toml({**small_tables(), **changes}))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SAVE_SECONDS": "60"}
    command = [sys.executable, "-m", "harness", "run", str(study), "--out", str(out), "--engine", "ray"]
    with (tmp_path / "stdout").open("w") as stdout, (tmp_path / "stderr").open("w") as stderr:
        process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=stdout, stderr=stderr)
    trials = out / "trials"
    while not (list(trials.glob(".tmp-slow*/policy/*.json")) and list(trials.glob("pretrained*"))):
        assert process.poll() is None, "the run ended too early"
        time.sleep(0.05)
    started = psutil.Process(process.pid).children(recursive=True)
    assert any("raylet" in child.name() for child in started)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.wait() == 130
    assert (tmp_path / "stdout").read_text() == ""
    assert (tmp_path / "stderr").read_text().endswith("interrupted; finished trials are kept, run again to go on\n")
    _, alive = psutil.wait_procs(started, timeout=60)
    assert not alive
    before = {path: path.stat().st_mtime_ns for path in trials.glob("pretrained*/trial.json")}
    table = harness.run(study, out)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    again = harness.run(study, tmp_path / "whole")
    pd.testing.assert_frame_equal(table.drop(columns="seconds"), again.drop(columns="seconds"))


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:1", "Connection refused"),
        ("ray://127.0.0.1:1", "Connection refused"),
        ("nowhere", "it must be HOST:PORT, ray://HOST:PORT or auto"),
    ],
)
def test_an_address_where_no_cluster_is_is_one_line_and_nothing_is_written(
    command, study_file, tmp_path, address, reason
):
    outcome = command("run", study_file(), "--out", tmp_path / "out", "--engine", "ray", "--ray-address", address)
    assert (outcome.code, outcome.out) == (2, "")
    (line,) = outcome.err.splitlines()
    assert line.startswith(f"error: there is no Ray cluster at {address}: ")
    assert line.endswith(reason)
    assert not (tmp_path / "out").exists()


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("harness.engines.ray_cluster.importlib.util.find_spec", lambda _: None)
    with pytest.raises(StudyError, match=r"needs Ray: pip install 'seqmatch\[ray\]'"):
        Ray()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ray-address", "head:6379"], "--ray-address is of --engine ray: give both"),
        (["--engine", "ray", "--workers", "2"], "--workers is of --engine local"),
    ],
)
def test_options_of_another_engine_are_one_line(command, study_file, tmp_path, options, message):
    outcome = command("run", study_file(), "--out", tmp_path / "out", *options)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {message}")
    assert not (tmp_path / "out").exists()
