import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from small_studies import small_study, toy
from stores import forget_digests

import harness
from harness.errors import StoreError
from harness.joint_measuring import COLUMNS
from harness.preparation import prepare
from harness.remeasuring import remeasure
from harness.seeding import axis_seed
from harness.statistics import holm
from harness.store import Store
from metrics.base import MetricContext
from metrics.mauve import Mauve

DECODERS = {"plain": {}, "cold": {"temperature": 0.2}}
SETTINGS = ["clusterings=2", "max_tokens=8", "clusters=4", "permutations=199"]


def letters_study(**changes):
    tasks = {"letters": {"use": toy("Letters"), "test": 60, "validation": 60, "metrics": {"trajectories": {}}}}
    return small_study(**({"tasks": tasks, "decoders": DECODERS} | changes))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    harness.run(letters_study(), out)
    return out


@pytest.fixture
def own(finished, tmp_path):
    """A copy that the test may break."""
    return Path(shutil.copytree(finished, tmp_path / "own"))


def measured(out, llama, *more):
    return remeasure(out, "mauve", [f'model="{llama}"', *SETTINGS, *more])


def options(llama):
    return [part for setting in (f'model="{llama}"', *SETTINGS) for part in ("--set", setting)]


def test_all_trainers_and_decoders_of_a_task_and_seed_are_measured_together(own, llama):
    found = measured(own, llama)
    store = Store(own)
    metric = Mauve(model=llama, clusterings=2, max_tokens=8, clusters=4, permutations=199)
    for seed in (0, 1):
        trials = [trial for trial in store.specified() if trial.seed == seed]
        systems = {}
        for trial in trials:
            wrote = store.generations(trial)
            for decoder in DECODERS:
                systems[trial.trainer.name, decoder] = wrote[wrote["decoder"] == decoder]
        real = list(prepare(trials[0]).real["completion"])
        expected = metric.compute_jointly(systems, MetricContext(real=real, seed=axis_seed(seed, "metric")))
        rows = found.table[found.table["seed"] == seed]
        for (trainer, decoder), numbers in expected.numbers.items():
            mine = rows[(rows["trainer"] == trainer) & (rows["decoder"] == decoder)]
            assert dict(zip(mine["metric"], mine["value"], strict=True)) == numbers
        pairs = found.differences[found.differences["seed"] == seed]
        assert list(
            zip(
                zip(pairs["first_trainer"], pairs["first_decoder"], strict=True),
                zip(pairs["second_trainer"], pairs["second_decoder"], strict=True),
                pairs["difference"],
                pairs["p_value"],
                strict=True,
            )
        ) == [(pair.first, pair.second, pair.difference, pair.p_value) for pair in expected.differences]
        assert len(pairs) == len(list(combinations(systems, 2))) == 6
        np.testing.assert_array_equal(pairs["p_holm"], holm(pairs["p_value"]))
        assert (pairs["p_holm"] > pairs["p_value"]).any()


def test_some_trainers_and_decoders_are_compared_without_the_others(own, llama):
    settings = [f'model="{llama}"', *SETTINGS]
    everything = remeasure(own, "mauve", settings).table
    found = remeasure(own, "mauve", settings, ["shift"], ["plain"])
    numbers = found.table.dropna(subset="metric")
    assert {*zip(numbers["trainer"], numbers["decoder"], strict=True)} == {("shift", "plain")}
    for seed in (0, 1):
        (trial,) = (each for each in Store(own).specified() if (each.seed, each.trainer.name) == (seed, "shift"))
        wrote = Store(own).generations(trial).query("decoder == 'plain'")
        metric = Mauve(model=llama, clusterings=2, max_tokens=8, clusters=4, permutations=199)
        context = MetricContext(real=list(prepare(trial).real["completion"]), seed=axis_seed(seed, "metric"))
        expected = metric.compute_jointly({("shift", "plain"): wrote}, context)
        mine = numbers[numbers["seed"] == seed]
        assert dict(zip(mine["metric"], mine["value"], strict=True)) == expected.numbers["shift", "plain"]
    pairs = [{*zip(table["trial"], table["decoder"], strict=True)} for table in (found.table, everything)]
    assert pairs[0] == pairs[1]
    assert not len(found.differences)


def test_a_trainer_decoder_or_task_that_the_results_lack_is_said(own, llama, command):
    before = {path: path.read_bytes() for path in own.glob("*.parquet")}
    said = {"--trainer": "has no trainer 'shfit'; did you mean 'shift'?", "--decoder": "has no decoder 'shfit'"}
    said["--task"] = "has no task 'shfit'"
    for option, problem in said.items():
        outcome = command("measure", own, "--metric", "mauve", *options(llama), option, "shfit")
        assert outcome.code == 2
        assert problem in outcome.err
    assert {path: path.read_bytes() for path in own.glob("*.parquet")} == before


def test_both_tables_are_written_with_their_settings_and_nothing_else(own, llama):
    before = {path.name for path in own.iterdir()}
    found = measured(own, llama)
    assert {path.name for path in own.iterdir()} - before == {
        "measured-mauve.parquet",
        "measured-mauve-differences.parquet",
    }
    assert list(found.table) == list(harness.tables.COLUMNS)
    assert_frame_equal(harness.tables.long_table(pd.read_parquet(found.path)), found.table)
    stored = pd.read_parquet(found.differences_path)
    assert_frame_equal(stored.astype(COLUMNS), found.differences)
    assert list(stored) == list(COLUMNS)
    assert stored.attrs == pd.read_parquet(found.path).attrs
    assert stored.attrs["settings"]["letters"]["permutations"] == 199
    assert set(stored["study"]) == {"small"}
    assert set(stored["task"]) == {"letters"}
    clocks = ["trial", "step", "tokens", "seconds"]
    spent = harness.load_results(own).drop_duplicates("trial")[clocks].reset_index(drop=True)
    assert_frame_equal(found.table.drop_duplicates("trial")[clocks].reset_index(drop=True), spent)


def test_the_order_of_trainers_changes_only_the_order_of_rows(finished, llama, tmp_path):
    turned = {"shift": {"use": toy("Shift")}, "pretrained": {}}
    harness.run(letters_study(trainers=turned), tmp_path / "turned")
    one, other = measured(finished, llama), measured(tmp_path / "turned", llama)
    key = ["trainer", "decoder", "seed", "metric"]
    wanted, got = (found.table.set_index(key)["value"].sort_index() for found in (one, other))
    pd.testing.assert_series_equal(got, wanted)
    sides = {"first_trainer": "second_trainer", "first_decoder": "second_decoder"}
    sides |= {second: first for first, second in sides.items()}
    both = pd.concat([other.differences, other.differences.rename(columns=sides).eval("difference = -difference")])
    pair = ["seed", "first_trainer", "first_decoder", "second_trainer", "second_decoder"]
    for row in one.differences.itertuples():
        twin = both.set_index(pair).loc[tuple(getattr(row, name) for name in pair)]
        assert twin["difference"] == pytest.approx(row.difference, abs=1e-12)
        assert twin["p_value"] == row.p_value


def test_the_command_prints_both_and_says_what_the_p_values_are_over(own, llama, command):
    outcome = command("measure", own, "--metric", "mauve", *options(llama))
    assert outcome.code == 0
    assert "task letters, differences in mauve" in outcome.out
    assert "not whether one trainer is better: that is a question over training\nseeds" in outcome.out
    row = next(line for line in outcome.out.splitlines() if "pretrained plain │ shift cold" in line)
    stored = pd.read_parquet(own / "measured-mauve-differences.parquet")
    (found,) = stored.query(
        "seed == 1 and first_trainer == 'pretrained' and first_decoder == 'plain' and "
        "second_trainer == 'shift' and second_decoder == 'cold'"
    ).to_dict("records")
    assert row.split("│")[6].strip() == f"{found['difference']:+.3g}"
    assert outcome.out.endswith(
        f"Values are in {own}/measured-mauve.parquet.\nDifferences are in {own}/measured-mauve-differences.parquet.\n"
    )
    assert "mauve_p" in outcome.out
    assert "p_holm of" not in outcome.out


def test_permutations_that_can_find_nothing_are_said(own, llama, command):
    outcome = command("measure", own, "--metric", "mauve", *options(llama), "--set", "permutations=9")
    assert (
        "task letters: no p_holm of 6 pairs is below 0.6 with 9 permutations: measure again with "
        "--set permutations=599\n"
    ) in outcome.out


def test_too_few_real_texts_are_said(llama, tmp_path):
    tasks = {"letters": {"use": toy("Letters"), "test": 60, "validation": 59, "metrics": {"trajectories": {}}}}
    harness.run(letters_study(tasks=tasks, seeds=1), tmp_path)
    found = measured(tmp_path, llama)
    assert "mauve_ceiling" not in set(found.table["metric"])
    assert len(found.notes) == 1
    assert "no mauve_ceiling: the task has 59 validation examples for 60 test examples" in found.notes[0]


def test_one_system_is_measured_and_there_is_nothing_to_compare(llama, tmp_path, command):
    harness.run(letters_study(trainers={"pretrained": {}}, decoders={"plain": {}}, seeds=1), tmp_path)
    found = measured(tmp_path, llama)
    assert len(found.differences) == 0
    assert list(pd.read_parquet(found.differences_path)) == list(COLUMNS)
    outcome = command("measure", tmp_path, "--metric", "mauve", *options(llama))
    assert "There are no two systems to compare." in outcome.out


def test_the_reference_implementation_measures_every_trial_alone(own, llama):
    joint = measured(own, llama)
    assert joint.differences_path.exists()
    alone = measured(own, llama, 'backend="mauve-text"')
    assert (alone.differences, alone.differences_path) == (None, None)
    assert not joint.differences_path.exists()
    assert any("every trial is measured by itself: backend 'mauve-text' clusters every" in note for note in alone.notes)
    assert alone.table["metric"].nunique() == joint.table["metric"].nunique() - 1


def test_a_write_that_fails_leaves_both_old_tables(own, llama, monkeypatch):
    measured(own, llama)
    before = {path: path.read_bytes() for path in own.glob("measured-*")}
    assert len(before) == 2
    write = pd.DataFrame.to_parquet

    def full(table, path):
        if "value" in table:
            raise OSError(28, "No space left on device")
        write(table, path)

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(StoreError, match="cannot write results"):
        measured(own, llama, "scaling=1")
    assert {path: path.read_bytes() for path in own.glob("measured-*")} == before
    assert not list(own.glob(".tmp-*"))


def test_failed_trials_are_left_out_of_the_clusters_and_shown(llama, tmp_path, command):
    trainers = {"pretrained": {}, "shift": {"use": toy("Shift"), "fault": "raise"}}
    harness.run(letters_study(trainers=trainers), tmp_path)
    outcome = command("measure", tmp_path, "--metric", "mauve", *options(llama))
    assert outcome.code == 1
    table = pd.read_parquet(tmp_path / "measured-mauve.parquet")
    assert list(dict.fromkeys(table["trial"])) == [trial.identity for trial in Store(tmp_path).specified()]
    assert table.loc[table["status"] == "failed", "trainer"].tolist() == ["shift", "shift"]
    pairs = pd.read_parquet(tmp_path / "measured-mauve-differences.parquet").set_index("seed")
    assert pairs.groupby("seed").size().to_dict() == {0: 1, 1: 6}


def test_generations_that_do_not_match_name_the_trial(own, llama, command):
    victim = Store(own).specified()[1]
    path = own / "trials" / victim.label / "generations.parquet"
    wrote = pd.read_parquet(path)
    wrote.iloc[::-1].to_parquet(path)
    forget_digests(path.parent)
    outcome = command("measure", own, "--metric", "mauve", *options(llama))
    assert outcome.code == 2
    assert f"other test examples now than {victim.label} was tested on" in outcome.err
