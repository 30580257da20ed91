import os
import subprocess
import sys

import pytest

from harness.registry import METRICS


def rows(text):
    heading, rule, *lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert set("".join(rule)) == {"-"}
    return [dict(zip(heading, line, strict=True)) for line in lines]


def expanded(name):
    """``rep_2 to rep_4`` as three names."""
    first, _, last = name.partition(" to ")
    if not last:
        return [first]
    stem = first.rstrip("0123456789")
    return [f"{stem}{place}" for place in range(int(first[len(stem) :]), int(last[len(stem) :]) + 1)]


def test_every_number_of_every_metric_with_what_it_declares(command):
    outcome = command("list", "metrics", "--numbers")
    assert (outcome.code, outcome.err) == (0, "")
    listed = [(row, name) for row in rows(outcome.out) for name in expanded(row["number"])]
    declared = [(entry.name, name) for entry in METRICS.entries() for name in METRICS.load(entry.name).values]
    assert [(row["metric"], name) for row, name in listed] == declared
    for row, name in listed:
        metric = METRICS.load(row["metric"])
        value = metric.values[name]
        assert {"higher": True, "lower": False, "": None}[row["better"]] is value.higher_is_better
        low, high = (float(bound.replace("∞", "inf")) for bound in row["range"].split(" to "))
        assert (low, high) == pytest.approx(value.range, abs=1e-4)
        assert row["unit"] == value.unit
        assert row["least n"] == str(metric.minimum_n)
        assert set(filter(None, row["needs"].split(", "))) == metric.needs
        assert tuple(filter(None, row["columns"].split(", "))) == metric.columns


def test_a_metric_that_cannot_be_loaded_hides_no_other(command, monkeypatch):
    monkeypatch.setitem(METRICS.builtin, "diversity", "metrics.gone:Diversity")
    outcome = command("list", "metrics", "--numbers")
    assert outcome.code == 0
    found = {row["metric"]: row for row in rows(outcome.out)}
    assert "cannot be loaded: ModuleNotFoundError" in found["diversity"]["number"]
    assert found["accuracy"]["number"] == "accuracy"


@pytest.mark.parametrize("kind", ["trainers", "tasks", "studies"])
def test_only_metrics_have_numbers(command, kind):
    outcome = command("list", kind, "--numbers")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "error: --numbers: only metrics report numbers: seqmatch list metrics --numbers\n"


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["metrics"], marks=pytest.mark.long),
        ["metrics", "--numbers"],
        pytest.param(["studies"], marks=pytest.mark.long),
    ],
)
def test_a_narrow_pipe_neither_wraps_nor_truncates(arguments):
    code = "import sys; from harness.cli import main; sys.argv[0] = 'seqmatch'; main()"
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code, "list", *arguments],
            env={**os.environ, "COLUMNS": columns},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for columns in ("20", "1000")
    ]
    assert outputs[0] == outputs[1]
    assert "…" not in outputs[0]
    assert len(outputs[0].splitlines()[1]) > 80
