"""The benchmarks of metrics and workers run at tiny sizes, and both of their sides agree; no matter how fast."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(script, *options):
    command = [sys.executable, ROOT / "benchmarks" / script, *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.long
def test_mauve():
    *_, heading, row = run("mauve_score.py", "--n", 60, "--widths", 8, "--decays", 1, "--repeats", 1)
    found = dict(zip(heading.split(), row.replace(" s ", " ").split(), strict=True))
    assert float(found["difference"]) < 1e-6
    assert 0 < float(found["score"]) <= 1


@pytest.mark.parametrize("vocabulary", [50, 2**16 + 1])
def test_ngrams(vocabulary):
    """The script itself compares every number."""
    *_, row = run("ngrams.py", "--texts", 9, "--tokens", 20, "--repeats", 1, "--vocabularies", vocabulary)
    assert row.split()[0] == str(vocabulary)


@pytest.mark.long
def test_workers():
    """The script itself compares the tables."""
    *_, heading, _, _, _, ratio = run("workers.py", "--trials", 2, "--steps", 2, "--repeats", 1)
    assert "2 trials of" in heading
    assert float(ratio.split()[1]) > 0


@pytest.mark.long
def test_scaling():
    """Every axis has an exponent of time and one of memory, and what is counted and not timed has the expected one."""
    options = ("--shrink", 8, "--repeats", 1, "--trials", 15)
    lines = run("scaling.py", *options)
    rows = {line[:16].strip(): line for line in lines if "[" in line}
    assert list(rows) == ["sequence length", "vocabulary", "replay buffer", "n of MAUVE", "finished trials"]
    memory = {name: float(row.partition("]")[2].split()[0]) for name, row in rows.items()}
    assert memory["sequence length"] == pytest.approx(1, abs=0.05)
    assert memory["replay buffer"] == 1
    assert lines[-1].startswith("15 finished trials: ")


def test_make_bench_runs_every_benchmark():
    recipe = (ROOT / "Makefile").read_text().partition("\nbench:")[2]
    guide = (ROOT / "benchmarks" / "README.md").read_text()
    for script in (ROOT / "benchmarks").glob("*.py"):
        assert f"benchmarks/{script.name}" in recipe
        assert f"python benchmarks/{script.name}" in guide


@pytest.mark.long
def test_costing():
    """A device is as fast as it is, and what it does in a step is what the plan counts."""
    *_, step, sampling = run(
        *("costing.py", "quick", "--tasks", "language", "--trainers", "sequence_match_backspace", "--steps", 32),
        *("--set", "trainers.sequence_match_backspace.refresh_every=8", "--flops-per-second", 1e7),
    )
    seconds, planned, rate = (float(word) for word in (step.split()[2], step.split()[5], step.split()[7]))
    assert planned == pytest.approx(seconds * rate / 1e7, rel=0.02)
    assert int(sampling.split(":")[1].split()[0]) > 0
