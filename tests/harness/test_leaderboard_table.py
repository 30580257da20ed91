import math
import re

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.leaderboard.numbers import number
from harness.leaderboard.plain import as_text
from harness.leaderboard.table import leaderboard
from harness.tables import long_table


def results(cells, **changes):
    """Rows from {(trainer, seed): value, or a status}."""
    rows = []
    for (trainer, seed), value in cells.items():
        row = {"study": "s", "trial": f"{trainer}{seed}", "trainer": trainer, "task": "t", "decoder": "d", "seed": seed}
        if isinstance(value, str):
            rows.append({**row, "status": value})
        else:
            extra = {"metric": "score", "value": value, "higher_is_better": True, "status": "finished"}
            rows.append({**row, **extra, **changes})
    return long_table(rows)


def render(results, headlines=None):
    return as_text(leaderboard(results, headlines))


def row(text: str, trainer: str) -> list[list[str]]:
    """The cells of a trainer's two lines."""
    lines = text.splitlines()
    (index,) = [i for i, line in enumerate(lines) if re.match(rf"│ {trainer} ", line)]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines[index : index + 2]]


def test_a_cell_has_the_mean_and_the_value_of_every_seed():
    text = render(results({("mle", 0): 0.1, ("mle", 1): 0.3, ("bc", 0): 0.5, ("bc", 1): 0.75}))
    assert row(text, "mle") == [["mle", "d", "2", "0.200"], ["", "", "", "0.100 0.300"]]
    assert row(text, "bc")[0][-1] == "0.625"
    assert text.index("mle") < text.index("bc")
    assert "score ↑" in text
    assert "Means over 2 matched seeds, the seeds' values below; `seqmatch compare` tests the differences." in text


def test_steps_that_differ_are_said_but_not_those_of_what_is_not_trained():
    steps = {"none": 0, "mle": 40, "long": 60}
    tables = [results({(name, seed): 0.1 for seed in range(2)}, step=step) for name, step in steps.items()]
    assert "Optimiser steps" not in render(pd.concat(tables[:2]))
    assert "Optimiser steps on t differ: mle 40, long 60." in render(pd.concat(tables))


@pytest.mark.parametrize("status", ["failed", "missing"])
def test_a_seed_without_a_value_is_never_averaged_over_silently(status):
    text = render(results({("mle", 0): 0.2, ("mle", 1): 0.4, ("bc", 0): 0.5, ("bc", 1): status}))
    assert row(text, "bc") == [["bc", "d", "1 of 2", "0.500 (of 1)"], ["", "", "", f"0.500 {status}"]]
    assert f"1 trial {status}." in text


def test_a_trainer_of_which_every_seed_failed_has_a_row():
    text = render(results({("mle", 0): 0.2, ("mle", 1): 0.2, ("bc", 0): "failed", ("bc", 1): "failed"}))
    assert row(text, "bc") == [["bc", "d", "0 of 2", "-"], ["", "", "", "failed failed"]]


def test_one_seed_is_not_a_mean():
    text = render(results({("mle", 7): 0.2, ("bc", 7): "missing"}))
    assert row(text, "mle")[0] == ["mle", "d", "1", "0.200"]
    assert row(text, "bc")[0] == ["bc", "d", "0 of 1", "missing"]
    assert "Means" not in text
    assert "One seed only" in text


def test_a_task_of_which_everything_failed_has_a_table():
    assert row(render(results({("bc", 0): "failed"}), {"t": ["score"]}), "bc")[0] == ["bc", "d", "0 of 1", "failed"]
    assert row(render(results({("bc", 0): "failed"})), "bc")[0] == ["bc", "d", "0 of 1"]


def test_a_number_that_a_metric_did_not_report_is_said():
    table = results({("mle", 0): 0.2, ("mle", 1): 0.4})
    table.loc[1, "metric"] = "other"
    assert row(render(table, {"t": ["score"]}), "mle") == [["mle", "d", "2", "0.200 (of 1)"], ["", "", "", "0.200 -"]]


def test_arrows_follow_the_direction():
    cells = {("mle", 0): 0.2}
    assert "score ↓" in render(results(cells, higher_is_better=False))
    neither = render(results(cells, higher_is_better=None))
    assert "score" in neither
    assert "↓" not in neither
    assert "↑" not in neither


def test_only_headlines_are_columns_and_tasks_have_their_own_tables():
    table = pd.concat(
        [
            results({("mle", 0): 0.2}, metric=metric, task=task)
            for task, metric in (("one", "a"), ("one", "b"), ("two", "c"), ("three", "e"))
        ]
    )
    text = render(table, {"one": ["b"], "two": ["c"]})
    assert [line for line in text.splitlines() if line.startswith("task ")] == ["task one", "task two", "task three"]
    headings = [line for line in text.splitlines() if "trainer" in line]
    assert [re.findall(r"\b[a-e]\b", line) for line in headings] == [["b"], ["c"], ["e"]]


def test_decoders_have_rows_of_their_own():
    table = pd.concat([results({("mle", 0): 0.2}), results({("mle", 0): 0.7}, decoder="greedy")])
    assert re.findall(r"│ mle +│ (\w+) +│ +1 │ +([\d.]+)", render(table)) == [("d", "0.200"), ("greedy", "0.700")]


def test_wide_tables_are_whole_elsewhere_than_on_a_terminal():
    names = [f"a_metric_with_a_very_long_name_{index}" for index in range(40)]
    table = pd.concat([results({("mle", seed): 0.2 for seed in range(9)}, metric=name) for name in names])
    text = render(table)
    assert all(f"{name} ↑" in text for name in names)
    assert text.count("0.200 0.200 0.200 0.200 0.200 0.200 0.200 0.200 0.200") == 40
    assert leaderboard(table)


@settings(max_examples=30)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=5))
@example([1e-5, 3e-5])
def test_the_mean_is_the_mean(values):
    """To three digits, and to the rounding of a sum that cancels."""
    text = render(results({("mle", seed): value for seed, value in enumerate(values)}))
    mean = math.fsum(values) / len(values)
    assert float(row(text, "mle")[0][-1]) == pytest.approx(mean, rel=5.1e-3, abs=1e-15 * max(map(abs, values)))
    assert row(text, "mle")[1][-1] == " ".join(map(number, values))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.000"),
        (0.5, "0.500"),
        (-0.25, "-0.250"),
        (0.00123, "0.00123"),
        (12.34567, "12.35"),
        (0.029666, "0.0297"),
        (665.0, "665.0"),
        (1e9, "1e+09"),
    ],
)
def test_numbers_are_short(value, text):
    assert number(value) == text
