"""Two real processes between trials: who waits for whom, what they agree on, and what only the first one does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from launches import torchrun
from meetings import LATE, PATIENCE

import harness

pytestmark = pytest.mark.long
SCRIPT = Path(__file__).with_name("meetings.py")
ALONE = "failed in process 1 and not in all of them"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("meetings")
    run = torchrun(str(SCRIPT), str(folder))
    assert run.returncode == 0, run.stderr
    return folder


@pytest.fixture(scope="module")
def found(out: Path) -> list[dict[str, Any]]:
    """What each process wrote down."""
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(2)]


def test_a_process_waits_for_the_first_however_late_it_is(found: list[dict[str, Any]]) -> None:
    for meeting in found[1]["late"]:
        assert meeting["error"] == ""
        assert meeting["seconds"] > (LATE + PATIENCE) / 2
    assert [each["days"] for each in found] == [30, 30], "in the middle of a step too"


def test_all_hear_what_the_first_says(found: list[dict[str, Any]]) -> None:
    assert [each["announced"] for each in found] == ["said by 0"] * 2
    assert found[0]["table"] == found[1]["table"]


@pytest.mark.parametrize("case", ["all failed", "first failed"])
def test_a_failure_of_all_or_in_what_the_first_alone_does_is_no_end(case: str, found: list[dict[str, Any]]) -> None:
    for each in found:
        assert each[case]["error"] == ""


@pytest.mark.parametrize("case", ["other failed", "other failed and first stuck"])
def test_a_failure_of_another_process_alone_ends_it(case: str, found: list[dict[str, Any]]) -> None:
    assert found[0][case]["error"] == ""
    assert ALONE in found[1][case]["error"]
    assert found[1][case]["seconds"] < (LATE + PATIENCE) / 2


def test_the_first_alone_measures_keeps_checkpoints_and_reports(out: Path) -> None:
    table = harness.load_results(out / "results")
    assert set(table["task"] + " " + table["status"]) == {"unmeasurable failed", "letters finished"}
    (failed,) = out.glob("results/trials/*-unmeasurable-*/trial.json")
    assert "a bug in the metric" in json.loads(failed.read_text())["traceback"]
    (measured,) = out.glob("results/trials/*-letters-*/evaluations.parquet")
    assert list(pd.read_parquet(measured)["step"]) == [2]
    folders = list(out.glob("results/tensorboard/*"))
    assert [len(list(folder.iterdir())) for folder in folders] == [1, 1]
