"""One trial run again beside what is on record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_studies import small_study

import harness
from harness.errors import RequestError, StoreError
from harness.expansion import plan
from harness.publishing import publish
from harness.reproduction import Closeness, _closeness, reproduce, sample_errors
from harness.trial import Trial

STUDY = small_study(seeds=2)
TRIAL = plan(STUDY).trials[1]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("recorded")
    harness.run(STUDY, folder / "run")
    publish(folder / "run", folder / "to")
    return folder / "run", folder / "to"


@pytest.fixture
def publication(recorded: tuple[Path, Path], tmp_path: Path) -> Path:
    """A publication of our own, to be tampered with."""
    publish(recorded[0], tmp_path / "to")
    return tmp_path / "to"


def tamper(to: Path, metric: str, factor: float) -> None:
    table = pd.read_parquet(to / "results.parquet")
    mine = (table["trial"] == TRIAL.identity) & (table["metric"] == metric)
    assert mine.sum() == 1
    table.loc[mine, "value"] *= factor
    table.to_parquet(to / "results.parquet")


def test_the_same_code_on_the_same_machine_gives_the_same_bits(recorded: tuple[Path, Path]) -> None:
    for folder in recorded:
        found = reproduce(folder, TRIAL.label)
        assert found.closeness is Closeness.IDENTICAL
        assert set(found.table["closeness"]) == {"identical"}
        assert found.changed == ()
        mine = harness.load_results(folder).query("trial == @TRIAL.identity")
        assert list(found.table["metric"]) == list(mine["metric"])
        np.testing.assert_array_equal(found.table["again"], mine["value"])


@pytest.mark.parametrize(("factor", "closeness"), [(1.04, Closeness.CLOSE), (1.06, Closeness.DIFFERENT)])
def test_numbers_of_unknown_error_are_close_within_the_tolerance(
    publication: Path, factor: float, closeness: Closeness
) -> None:
    table = pd.read_parquet(publication / "results.parquet")
    table["sample_error"] = np.nan
    table.to_parquet(publication / "results.parquet")
    tamper(publication, "length_mean", factor)
    found = reproduce(publication, TRIAL.label)
    assert found.closeness is closeness
    assert list(found.table.query("closeness != 'identical'")["metric"]) == ["length_mean"]
    assert reproduce(publication, TRIAL.label, tolerance=0.1).closeness is Closeness.CLOSE


@pytest.mark.parametrize(
    ("recorded", "again", "closeness"),
    [
        (0.0, 3 / 400, "close"),
        (0.0, 4 / 400, "different"),
        (1.0, 0.99, "close"),
        (np.inf, 1.0, "different"),
        (np.nan, np.nan, "different"),
        (0.5, 0.51, "close"),
    ],
)
def test_shares_of_none_and_numbers_that_are_not_finite(recorded: float, again: float, closeness: str) -> None:
    assert _closeness(recorded, again, np.nan, 400, 0.05) == closeness


def test_more_numbers_may_differ_further_by_chance() -> None:
    assert sample_errors(1) == pytest.approx(np.sqrt(2) * 1.959964)
    assert sample_errors(20) == pytest.approx(np.sqrt(2) * 3.023341, rel=1e-5)


def test_the_sample_error_widens_the_tolerance(publication: Path) -> None:
    table = pd.read_parquet(publication / "results.parquet")
    table["sample_error"] = table["value"].abs()
    table.to_parquet(publication / "results.parquet")
    tamper(publication, "length_mean", 3)
    assert reproduce(publication, TRIAL.label).closeness is Closeness.CLOSE
    tamper(publication, "length_mean", 3)
    assert reproduce(publication, TRIAL.label).closeness is Closeness.DIFFERENT


def test_a_number_that_is_no_longer_reported_is_different(publication: Path) -> None:
    table = pd.read_parquet(publication / "results.parquet")
    table["metric"] = table["metric"].replace("length_mean", "forgotten")
    table.to_parquet(publication / "results.parquet")
    found = reproduce(publication, TRIAL.label).table.set_index("metric")
    assert found.loc["forgotten", "closeness"] == "different"


def test_what_changed_since_is_named(publication: Path) -> None:
    path = publication / "provenance.json"
    path.write_text(path.read_text().replace('"processor": "', '"processor": "Another '))
    (changed,) = reproduce(publication, TRIAL.label).changed
    assert changed.startswith("processor was Another ")


def test_another_version_of_a_task_is_named(publication: Path) -> None:
    study = publication / "study.json"
    content = json.loads(study.read_text())
    entry = next(each for each in content["trials"] if each["label"] == TRIAL.label)
    entry["task"]["version"] = "0.0.1"
    older = Trial.from_json(entry)
    entry |= {"identity": older.identity, "label": older.label}
    study.write_text(json.dumps(content))
    table = pd.read_parquet(publication / "results.parquet").replace({"trial": {TRIAL.identity: older.identity}})
    table.to_parquet(publication / "results.parquet")
    provenance = publication / "provenance.json"
    provenance.write_text(provenance.read_text().replace(TRIAL.label, older.label))
    (changed,) = reproduce(publication, older.label).changed
    assert " 0.0.1, is " in changed


def test_a_trial_is_found_by_how_its_name_begins(recorded: tuple[Path, Path]) -> None:
    for name in (TRIAL.label[:-4], TRIAL.identity[:12]):
        assert reproduce(recorded[0], name).label == TRIAL.label
    with pytest.raises(RequestError, match="'shift' are 2 trials"):
        reproduce(recorded[0], "shift")
    with pytest.raises(RequestError, match=r"has no trial 'nothing': it has 4, the first is pretrained-letters-s0-"):
        reproduce(recorded[0], "nothing")
    with pytest.raises(RequestError, match="tolerance"):
        reproduce(recorded[0], "shift", tolerance=-1)


def test_there_must_be_a_record(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no study\.json"):
        reproduce(tmp_path, "shift")


def test_the_command(command: Callable[..., Any], recorded: tuple[Path, Path], publication: Path) -> None:
    again = command("reproduce", TRIAL.label, "--results", recorded[1])
    assert again.code == 0
    assert "Nothing that could change a number has changed since." in again.out
    tamper(publication, "length_mean", 100)
    other = command("reproduce", TRIAL.label, "--results", publication)
    assert other.code == 1
    assert "different" in other.out
    written = command("publish", recorded[0], publication)
    assert written.code == 0
    assert str(publication / "leaderboard.html") in written.out
