import json
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from small_studies import small_study

import harness
from harness.errors import StoreError
from harness.expansion import plan
from harness.holding import hold
from harness.store import Store
from harness.tables import COLUMNS
from harness.trial_log import Log
from harness.trial_writing import write_trial


def failed(out: Path, index: int = 0) -> tuple[Store, object]:
    """A store in which one trial has failed."""
    planned, store = plan(small_study()), Store(out)
    trial = planned.trials[index]
    with hold(store, planned):
        write_trial(store, trial, Log({"data": 1.0}, [{"step": 1, "loss": 2.0}]), None, "Traceback: boom")
    return store, trial


def test_the_long_table_is_the_same_in_memory_in_parquet_and_from_the_trials(tmp_path):
    table = harness.run(small_study(), tmp_path)
    assert list(table) == list(COLUMNS)
    assert_frame_equal(table, harness.load_results(tmp_path))
    assert_frame_equal(table, harness.tables.long_table(pd.read_parquet(tmp_path / "results.parquet")))
    csv = pd.read_csv(tmp_path / "results.csv")
    assert list(csv) == list(COLUMNS)
    assert csv["value"].tolist() == table["value"].tolist()


def test_the_record_of_a_trial_says_what_made_it(tmp_path):
    harness.run(small_study(), tmp_path)
    trial = plan(small_study()).trials[1]
    record = json.loads((tmp_path / "trials" / trial.label / "trial.json").read_text())
    assert (record["identity"], record["status"], record["traceback"]) == (trial.identity, "finished", None)
    assert record["specification"]["trainer"]["settings"]["scale"] == 0.1
    assert record["specification"]["versions"]["torch"]
    assert set(record["timings"]) == {"data", "model", "training", "generation", "metrics"}
    assert record["seeds"]["init"] == harness.seeding.axis_seed(0, "init")
    assert record["parameters"] > 0
    assert len(record["source"]) == 16
    assert {"python", "platform", "machine", "processor", "gpu", "processes"} == set(record["machine"])
    curve = pd.read_parquet(tmp_path / "trials" / trial.label / "curve.parquet")
    assert curve["step"].tolist() == [0, 1, 2]


def test_failed_and_missing_trials_are_rows_without_a_value(tmp_path):
    store, trial = failed(tmp_path)
    table = store.results()
    assert table["status"].tolist() == ["failed", "missing", "missing", "missing"]
    assert table["metric"].tolist() == [None] * 4
    assert table["value"].isna().all()
    assert table["n"].isna().all()
    assert table["trial"].iloc[0] == trial.identity
    assert not store.is_finished(trial)
    assert pd.read_parquet(tmp_path / "trials" / trial.label / "curve.parquet")["loss"].tolist() == [2.0]


def test_a_trial_replaces_its_failed_predecessor(tmp_path):
    store, trial = failed(tmp_path)
    write_trial(store, trial, Log(), None, "Traceback: another")
    record = json.loads((tmp_path / "trials" / trial.label / "trial.json").read_text())
    assert record["traceback"] == "Traceback: another"
    assert [path.name for path in (tmp_path / "trials").iterdir()] == [trial.label]


def test_a_folder_of_another_identity_does_not_count(tmp_path):
    harness.run(small_study(), tmp_path)
    trial, store = plan(small_study()).trials[0], Store(tmp_path)
    assert store.is_finished(trial)
    path = tmp_path / "trials" / trial.label / "trial.json"
    path.write_text(path.read_text().replace(trial.identity, trial.identity[:8] + "0" * 56))
    assert not store.is_finished(trial)


def test_two_runs_cannot_share_a_folder(tmp_path):
    planned = plan(small_study())
    with (
        hold(Store(tmp_path), planned),
        pytest.raises(StoreError, match="is in use by another run"),
        hold(Store(tmp_path), planned),
    ):
        pass
    with hold(Store(tmp_path), planned):  # raises if the first run had left its lock behind
        assert len(Store(tmp_path).study()["trials"]) == len(planned.trials)


def test_leftovers_of_a_killed_run_are_removed_and_nothing_else(tmp_path):
    store, trial = failed(tmp_path)
    half = tmp_path / "trials" / ".tmp-half-1234"
    half.mkdir()
    (half / "results.parquet").touch()
    (tmp_path / ".tmp-1234-results.csv").touch()
    (tmp_path / "notes.txt").touch()
    with hold(store, plan(small_study())):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "study.json", "trials", "notes.txt"}
    assert [path.name for path in (tmp_path / "trials").iterdir()] == [trial.label]


@pytest.mark.parametrize("content", ["", '{"identity": "12', "\x00", "[]", '{"status": "finished"}'])
def test_damaged_records_name_the_file_and_what_to_do(tmp_path, content):
    store, trial = failed(tmp_path)
    path = tmp_path / "trials" / trial.label / "trial.json"
    path.write_text(content)
    for attempt in (lambda: store.is_finished(trial), store.results, store.timings):
        with pytest.raises(StoreError, match=f"{path} cannot be read .*: delete {path.parent} and run the study again"):
            attempt()


def test_a_folder_without_a_study_is_no_results_folder(tmp_path):
    with pytest.raises(StoreError, match=f"{tmp_path} is no results folder"):
        harness.load_results(tmp_path)
    for content in ("{", "[]", "7", '{"trials": []}', '{"name": "of another program", "trials": 3}'):
        (tmp_path / "study.json").write_text(content)
        with pytest.raises(StoreError, match=r"study\.json cannot be read \(.*\): run the study again"):
            harness.load_results(tmp_path)
    for trials in ("[]", "3", "[3]", "[{}]"):
        (tmp_path / "study.json").write_text(f'{{"study": {{}}, "headlines": {{}}, "trials": {trials}}}')
        with pytest.raises(StoreError, match=r"study\.json names no trials: run the study again"):
            harness.load_results(tmp_path)


def test_a_write_that_fails_is_an_error_and_leaves_the_old_trial(tmp_path, monkeypatch):
    store, trial = failed(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.trial_writing.move_into_place", full)
    with pytest.raises(StoreError, match=r"cannot write results to .*No space left"):
        write_trial(store, trial, Log(), None, "Traceback: another")
    record = json.loads((tmp_path / "trials" / trial.label / "trial.json").read_text())
    assert record["traceback"] == "Traceback: boom"
