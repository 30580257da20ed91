"""Clocks that jump in the middle of a run, for real: libfaketime shifts those of its process while it runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count, cycle, pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small_studies import small_tables, to_toml, toy
from stateful import equal

import harness
from harness.study import Study

PLACES = ("lib*/faketime/libfaketimeMT.so.1", "lib*/*/faketime/libfaketimeMT.so.1")
FOUND = [path for place in PLACES for path in Path("/usr").glob(place)]
pytestmark = [pytest.mark.long, pytest.mark.skipif(not FOUND, reason="needs libfaketime: apt-get install faketime")]

DAY = 86_400
YEAR = 365 * DAY
TABLES: dict[str, Any] = {
    **small_tables(),
    "seeds": 1,
    "model": {"fresh": {**small_tables()["model"]["fresh"], "max_position_embeddings": 64}},
    "optimization": {"batch_size": 4, "log_every": 1},
    "checkpoint_every": 2,
    "save_policies": True,
    "evaluation": {"points": 3},
    "trainers": {
        "watching": {"use": toy("WatchesClock")},
        "sequence_match_backspace": {"cloning_share": 0.3, "refresh_every": 2, "refresh": 4, "noise": 0.2},
    },
}


@contextmanager
def jumping(clock: Path, seconds: Iterable[float]) -> Iterator[None]:
    """Shift the clock that a file sets two hundred times a second, to the next of so many seconds from now."""
    done = threading.Event()

    def jump() -> None:
        for each in seconds:
            clock.with_suffix(".next").write_text(f"{each:+}\n")
            os.replace(clock.with_suffix(".next"), clock)
            if done.wait(0.005):
                break

    thread = threading.Thread(target=jump)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def run(tmp_path: Path, tables: dict[str, Any], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a study in a process whose clocks a file sets."""
    file = tmp_path / "study.toml"
    file.write_text(to_toml(tables))
    faked = {"LD_PRELOAD": str(FOUND[0]), "FAKETIME_TIMESTAMP_FILE": str(tmp_path / "clock"), "FAKETIME_NO_CACHE": "1"}
    own = {"PYTHONPATH": os.pathsep.join(sys.path), "STEPS": str(tmp_path / "steps")}
    return subprocess.run(
        [sys.executable, "-m", "harness", "run", str(file), "--out", str(tmp_path / "out")],
        env={**os.environ, **faked, **own, **variables},
        capture_output=True,
        text=True,
        timeout=240,
    )


def check_table(tmp_path: Path, tables: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is that of a run whose clocks nobody touched."""
    monkeypatch.setenv("STEPS", str(tmp_path / "undisturbed"))
    harness.run(study := Study(**tables), tmp_path / "whole")
    equal(tmp_path / "out", tmp_path / "whole", study)


def curves(tmp_path: Path) -> list[pd.Series]:
    """What the meter showed at every step, by trial."""
    return [pd.read_parquet(path)["seconds"] for path in (tmp_path / "out" / "trials").glob("*/curve.parquet")]


def durations(tmp_path: Path, shown: str) -> list[float]:
    """All other times of a run, in seconds: of the phases, in the table, and at the end of each trial."""
    records = [json.loads(path.read_text()) for path in (tmp_path / "out" / "trials").glob("*/trial.json")]
    phases = [seconds for record in records for seconds in record["timings"].values()]
    ends = [float(seconds) for seconds in re.findall(r"finished in (\S+) s", shown)]
    assert len(records) == len(ends) == 2
    return [*phases, *ends, *harness.load_results(tmp_path / "out")["seconds"]]


def test_a_wall_clock_that_jumps_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Years forth and back, all the time, in a run that is killed and in the one that goes on from its checkpoint."""
    tables = {**TABLES, "budget": {"steps": 10, "seconds": 600}}
    with jumping(tmp_path / "clock", cycle([20 * YEAR, -20 * YEAR, YEAR, -30 * YEAR])):
        killed = run(tmp_path, tables, FAULT="killed", FAKETIME_DONT_FAKE_MONOTONIC="1")
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        resumed = run(tmp_path, tables, FAKETIME_DONT_FAKE_MONOTONIC="1")
    assert resumed.returncode == 0, resumed.stderr
    steps, times = zip(*map(str.split, (tmp_path / "steps").read_text().splitlines()), strict=True)
    assert [*map(int, steps)] == [0, 1, 2, 3, 4, *range(4, 10)], "it went on from the checkpoint"
    jumps = [after - before for before, after in pairwise(map(float, times))]
    assert max(jumps) > YEAR, "training saw the clock jump"
    assert min(jumps) < -YEAR, "and jump back"
    check_table(tmp_path, tables, monkeypatch)
    for seconds in curves(tmp_path):
        assert seconds.is_monotonic_increasing
        assert seconds.between(0, 600).all()
    assert all(0 <= seconds < 600 for seconds in durations(tmp_path, resumed.stderr))


def test_clocks_that_all_jump_onward_change_times_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The monotonic one too, by days, as where a virtual machine is halted."""
    tables = {**TABLES, "budget": {"steps": 10}}
    with jumping(tmp_path / "clock", count(0, DAY)):
        done = run(tmp_path, tables)
    assert done.returncode == 0, done.stderr
    check_table(tmp_path, tables, monkeypatch)
    for seconds in curves(tmp_path):
        assert seconds.is_monotonic_increasing
        assert seconds.iloc[-1] > DAY, "training saw the clock jump"
    assert all(seconds >= 0 for seconds in durations(tmp_path, done.stderr))
