import math

import numpy as np
import pandas as pd
import pytest
from long_tables import of_values
from scipy import stats

from harness.aggregation import COLUMNS, across_tasks, task_numbers
from harness.statistics import bootstrap_interval, share_interval

NUMBERS = {"t": "up", "u": "down"}


def study(seeds=8, number=0):
    """Two tasks with opposite directions, a floor and a trainer."""
    rng = np.random.default_rng(number)
    up = {"pretrained": rng.normal(0, 0.1, seeds), "mle": rng.normal(4, 1, seeds), "new": rng.normal(3.5, 1, seeds)}
    down = {name: 100 - 10 * values + rng.normal(0, 1, seeds) for name, values in up.items()}
    return {"t": ("up", True, up), "u": ("down", False, down)}


def table(tasks):
    return pd.concat(
        [of_values(v, task=t, metric=m, higher_is_better=h) for t, (m, h, v) in tasks.items()], ignore_index=True
    )


def row(aggregate, trainer):
    (found,) = aggregate[aggregate["trainer"] == trainer].to_dict("records")
    return found


def test_both_numbers_are_what_loops_find():
    tasks = study()
    aggregate = across_tasks(table(tasks), NUMBERS)
    assert list(aggregate) == list(COLUMNS)
    found = row(aggregate, "new")
    scores, wins = [], 0.0
    for _, higher, values in tasks.values():
        sign = 1 if higher else -1
        unit = sign * (np.mean(values["mle"]) - np.mean(values["pretrained"]))
        for mine, base in zip(values["new"], values["mle"], strict=True):
            scores.append(1 + sign * (mine - base) / unit)
            wins += sign * (mine - base) > 0
    assert found["improvement"] == wins / 16
    assert found["iqm"] == pytest.approx(np.mean(sorted(scores)[4:12]))
    assert (found["tasks"], found["seeds"], found["reason"]) == (2, 8, "")
    assert found["iqm_low"] < found["iqm"] < found["iqm_high"]
    assert found["improvement_low"] < found["improvement"] < found["improvement_high"]
    assert (found["improvement_low"], found["improvement_high"]) == share_interval(wins / 16, 8)


def test_scores_have_the_mean_of_those_that_are_not_paired():
    values = study(4)["t"][2]
    aggregate = across_tasks(table({"t": ("up", True, values), "u": ("up", True, values)}), {"t": "up", "u": "up"})
    gap = values["mle"].mean() - values["pretrained"].mean()
    paired = 1 + (values["new"] - values["mle"]) / gap
    assert paired.mean() == pytest.approx((values["new"].mean() - values["pretrained"].mean()) / gap)
    assert row(aggregate, "new")["iqm"] == pytest.approx(stats.trim_mean(np.repeat(paired, 2), 0.25))


def test_a_copy_of_the_baseline_is_at_one_and_the_floor_near_zero():
    tasks = study()
    for _, _, values in tasks.values():
        values["copy"] = values["mle"].copy()
    found = across_tasks(table(tasks), NUMBERS)
    assert [row(found, "copy")[name] for name in ("iqm", "iqm_low", "iqm_high", "improvement")] == [1, 1, 1, 0.5]
    assert abs(row(found, "pretrained")["iqm"]) < 0.2
    assert row(found, "pretrained")["improvement"] == 0


def test_neither_the_unit_of_a_task_nor_what_a_seed_does_to_all_matters():
    tasks = study()
    moved = {
        task: (metric, higher, {name: 1e-3 * (each + 50 * np.arange(8)) for name, each in values.items()})
        for task, (metric, higher, values) in tasks.items()
    }
    left, right = (row(across_tasks(table(each), NUMBERS), "new") for each in (tasks, moved))
    for name in ("improvement", "improvement_low", "iqm", "iqm_low", "iqm_high"):
        assert left[name] == pytest.approx(right[name])


def test_only_seeds_that_are_finished_on_all_tasks_count():
    tasks = study()
    tasks["t"][2]["new"] = ["failed", *tasks["t"][2]["new"][1:]]
    tasks["u"][2]["mle"] = [*tasks["u"][2]["mle"][:7], "missing"]
    assert row(across_tasks(table(tasks), NUMBERS), "new")["seeds"] == 6
    tasks["u"][2]["new"] = ["failed"] * 8
    found = row(across_tasks(table(tasks), NUMBERS), "new")
    assert (found["seeds"], found["reason"]) == (0, "no seed is finished on all 2 tasks")
    assert math.isnan(found["improvement"])


@pytest.mark.parametrize(
    ("change", "baseline", "reason"),
    [
        (lambda values: values.pop("pretrained"), None, "there is no pretrained under d to be 0"),
        (
            lambda values: values["pretrained"].__setitem__(3, 6),
            None,
            "mle is not better than pretrained under every seed in up (t)",
        ),
        (lambda values: None, "pretrained", "the baseline is pretrained itself, which is 0 and 1 at once"),
    ],
)
def test_where_scores_cannot_be_normalised_the_reason_is_said(change, baseline, reason):
    tasks = study()
    change(tasks["t"][2])
    found = row(across_tasks(table(tasks), NUMBERS, baseline), "new")
    assert found["reason"] == reason
    assert math.isnan(found["iqm"])
    assert 0 < found["improvement"] <= 1


def test_few_seeds_have_no_bootstrap_interval():
    found = row(across_tasks(table(study(4)), NUMBERS), "new")
    assert math.isfinite(found["iqm"])
    assert math.isnan(found["iqm_low"])
    assert math.isfinite(row(across_tasks(table(study(5)), NUMBERS), "new")["iqm_low"])


def test_the_first_number_with_a_direction_speaks_for_a_task():
    values = {"mle": [1.0], "new": [2.0]}
    rows = [
        of_values(values, metric="neither", higher_is_better=None),
        of_values(values, metric="b"),
        of_values(values, metric="a"),
        of_values(values, task="silent", metric="neither", higher_is_better=None),
    ]
    both = pd.concat(rows, ignore_index=True)
    assert task_numbers(both) == {"t": "b"}
    assert task_numbers(both, {"t": ["neither", "a", "b"]}) == {"t": "a"}
    assert task_numbers(both, ["neither"]) == {}


def test_the_bootstrap_interval_covers_as_often_as_it_says():
    rng, means = np.random.default_rng(0), np.array([0.8, 1.0, 1.4])
    truth = stats.trim_mean((rng.normal(0, 0.3, (100_000, 3)) + means).ravel(), 0.25)
    covered = []
    for number in range(150):
        scores = rng.normal(0, 0.3, (6, 3)) + means
        low, high = bootstrap_interval(
            lambda chosen, scores=scores: stats.trim_mean(scores[chosen].reshape(len(chosen), -1), 0.25, axis=1),
            6,
            seed=number,
        )
        covered.append(low <= truth <= high)
    assert abs(np.mean(covered) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 150)


def test_a_bootstrap_of_a_mean_is_about_the_interval_of_student():
    values = np.random.default_rng(0).normal(size=30)
    low, high = bootstrap_interval(lambda chosen: values[chosen].mean(1), 30)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.05)
