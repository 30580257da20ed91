import pandas as pd
import pytest
from small_studies import small_study, toy

import harness
from harness.errors import StoreError
from harness.execution import execute
from harness.expansion import plan
from harness.holding import hold
from harness.progress import Reporter
from harness.remeasuring import remeasure
from harness.store import Store
from harness.tables import SERIES_COLUMNS
from harness.trial_log import Log
from harness.trial_writing import write_trial
from metrics.base import MetricError


def plotting(**settings):
    metrics = {"plots": {"use": toy("Plots"), **settings}, "accuracy": {}}
    return small_study(tasks={"letters": {"use": toy("Letters"), "metrics": metrics}}, decoders={"a": {}, "b": {}})


def test_curves_are_stored_in_order_with_what_they_are_of(tmp_path):
    harness.run(plotting(), tmp_path)
    table, store = Store(tmp_path).series(), Store(tmp_path)
    assert list(table) == list(SERIES_COLUMNS)
    assert table.dtypes["x"] == table.dtypes["y"] == "float64"
    for trial in store.specified():
        generations = store.generations(trial)
        for decoder in ("a", "b"):
            mine = table[(table["trial"] == trial.identity) & (table["decoder"] == decoder)]
            assert mine[["trainer", "task", "seed", "metric"]].drop_duplicates().to_numpy().tolist() == [
                [trial.trainer.name, "letters", trial.seed, "plots"]
            ]
            steps, lengths = (mine[mine["series"] == name] for name in ("steps", "lengths"))
            assert steps[["x", "y"]].to_numpy().tolist() == [[9, 2], [3, 1]]
            written = generations.loc[generations["decoder"] == decoder, "completion_ids"]
            assert lengths[["x", "y"]].to_numpy().tolist() == [[i, len(ids)] for i, ids in enumerate(written)]
    assert len(table) == 4 * 2 * (4 + 2)


def test_folders_without_curves_have_an_empty_table(tmp_path):
    harness.run(small_study(), tmp_path)
    store = Store(tmp_path)
    assert store.series().empty
    for path in tmp_path.glob("trials/*/series.parquet"):
        path.unlink()
    table = store.series()
    assert table.empty
    assert list(table) == list(SERIES_COLUMNS)


def test_a_damaged_table_of_curves_is_named(tmp_path):
    harness.run(plotting(), tmp_path)
    path = next(tmp_path.glob("trials/*/series.parquet"))
    path.write_bytes(b"no table")
    with pytest.raises(StoreError, match=f"{path} cannot be read .*: delete {path.parent}"):
        Store(tmp_path).series()


def test_a_failed_trial_has_no_curves(tmp_path):
    planned, store = plan(plotting()), Store(tmp_path)
    with hold(store, planned):
        write_trial(store, planned.trials[0], Log(), None, "Traceback: boom")
    assert store.series().empty


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "undeclared",
            r"metric 'plots': series 'step' is not declared in its series; did you mean 'steps'\? \(valid: ",
        ),
        ("unequal", r"series 'steps' needs as many x as y, each a list of numbers, got shapes \(2,\) and \(1,\)"),
        ("nested", r"got shapes \(2,\) and \(2, 2\)"),
        ("flat", r"got shapes \(2, 2\) and \(2, 2\)"),
        ("nan", r"series 'steps' has points that are not finite, the first is \(3\.0, nan\)"),
        ("inf", r"series 'steps' has points that are not finite, the first is \(inf, 1\.0\)"),
        ("twice", "series 'lengths' is reported twice"),
    ],
)
def test_malformed_curves_are_errors(fault, message):
    trial = plan(plotting(fault=fault)).trials[0]
    with pytest.raises(MetricError, match=message):
        execute(trial, Reporter("x", lambda event: None), Log())


def test_curves_survive_being_measured_again(tmp_path):
    harness.run(plotting(), tmp_path)
    before = Store(tmp_path).series()
    remeasure(tmp_path, "plots")
    pd.testing.assert_frame_equal(before, Store(tmp_path).series())
