"""Studies that torchrun launches in two real processes: one table, as without a launch, and failures that end."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from launches import torchrun
from small_studies import small_study, small_tables, to_toml, toy
from torch import distributed

import harness
from harness.errors import StudyError

FRESH = {**small_tables()["model"]["fresh"], "max_position_embeddings": 64}
PLACE = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
TRAINING: dict[str, Any] = {
    "seeds": 1,
    "model": {"fresh": FRESH},
    "budget": {"steps": 6},
    "optimization": {"batch_size": 4, "log_every": 1},
    "checkpoint_every": 2,
    "save_policies": True,
    "evaluation": {"points": 3},
    "trainers": {
        "mle": {},
        "broken": {"use": toy("FailsInLaunch")},
        "sequence_match_backspace": {"cloning_share": 0.3, "refresh_every": 2, "refresh": 5, "noise": 0.2},
    },
}


def launched(
    study: dict[str, Any], out: Path, *arguments: str, fault: str = "", processes: int = 2, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a study as a user would, in processes on the CPUs of this machine."""
    file = out.with_suffix(".toml")
    file.write_text(to_toml(study))
    run = ["-m", "harness", "run", str(file), "--out", str(out), *arguments]
    return torchrun(*run, processes=processes, FAULT=fault, **variables)


def curve(out: Path, trainer: str) -> pd.DataFrame:
    (folder,) = (out / "trials").glob(f"{trainer}-*")
    return pd.read_parquet(folder / "curve.parquet")


@pytest.mark.long
def test_a_launch_of_two_processes_leaves_the_table_of_one(tmp_path: Path) -> None:
    study = {**small_tables(), **TRAINING}
    run = launched(study, tmp_path / "two", fault="all")
    assert "ChildFailedError" in run.stderr, "one failed trial is the exit code of the leader"
    assert run.stdout.count("Results are in") == 1, "the leader alone prints"
    assert (run.stderr.count("finished in"), run.stderr.count("failed in")) == (2, 1), run.stderr
    launched(study, tmp_path / "one", fault="all", processes=1)
    two, one = (harness.load_results(tmp_path / name) for name in ("two", "one"))
    columns = ["trainer", "metric", "status", "step", "tokens", "n"]
    pd.testing.assert_frame_equal(two[columns], one[columns])
    assert set(two.loc[two["status"] == "failed", "trainer"]) == {"broken"}
    for folder in (tmp_path / "one" / "trials").iterdir():
        other = tmp_path / "two" / "trials" / folder.name
        record = json.loads((other / "trial.json").read_text())
        assert record["machine"]["processes"] == 2
        if record["status"] == "finished":
            curves = [pd.read_parquet(each / "curve.parquet")["loss"].tolist() for each in (folder, other)]
            assert curves[0] == pytest.approx(curves[1], abs=1e-4)
            assert set(pd.read_parquet(other / "evaluations.parquet")["step"]) == {2, 4}


@pytest.mark.long
def test_a_process_that_fails_alone_ends_the_launch_and_the_next_goes_on(tmp_path: Path) -> None:
    study = {**small_tables(), **TRAINING, "trainers": {"mle": {}, "broken": {"use": toy("FailsInLaunch")}}}
    raised = launched(study, tmp_path / "results", fault="raised")
    assert "a bug in process 1" in raised.stderr
    assert "failed in process 1 and not in all of them" in raised.stderr
    killed = launched(study, tmp_path / "results", fault="killed")
    assert "1 trials were finished before" in killed.stderr
    assert "exitcode  : -9" in killed.stderr
    last = launched(study, tmp_path / "results")
    assert last.returncode == 0, last.stderr
    losses = [curve(tmp_path / "results", name)["loss"].tolist() for name in ("mle", "broken")]
    assert losses[0] == losses[1], "it went on from the checkpoint of the step before"


@pytest.mark.parametrize(
    ("workers", "variables", "error"),
    [
        (2, {}, "the processes of a launch train every trial together: run without workers"),
        (1, {"ACCELERATE_USE_FSDP": "true"}, "ACCELERATE_USE_FSDP is true: every process holds the whole model"),
        (1, {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}, "set optimization.accumulation in the study"),
    ],
    ids=["workers", "sharding", "accumulation"],
)
def test_what_a_launch_cannot_do_is_refused_before_anything_is_joined_or_written(
    workers: int, variables: dict[str, str], error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**PLACE, **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StudyError, match=error):
        harness.run(small_study(), tmp_path / "results", workers=workers)
    assert not (tmp_path / "results").exists()


def test_a_process_group_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PLACE.items():
        monkeypatch.setenv(name, value)
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        with pytest.raises(StudyError, match="initialised already: a launch of seqmatch makes its own process group"):
            harness.run(small_study(), tmp_path / "results")
    finally:
        distributed.destroy_process_group()
    assert not (tmp_path / "results").exists()
