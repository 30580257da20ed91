"""The fixture in a project of somebody else, with the entry point that pyproject.toml declares."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
PROJECT = """
    import pandas as pd

    def table(values, trainer="mle"):
        cell = {"trainer": trainer, "task": "t", "decoder": "d", "metric": "accuracy", "higher_is_better": True}
        return pd.DataFrame([{**cell, "seed": seed, "value": value} for seed, value in enumerate(values)])

    BASE = table([0.5, 0.6, 0.55, 0.52])
    OPEN = table([0.3, 0.8, 0.5, 0.5])
    MARGINS = {"accuracy": 0.02}
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The path with this code, and a distribution with its entry points as an installation would have them."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    folder = tmp_path / "installed" / "seqmatch_copy-0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: seqmatch-copy\nVersion: 0\n")
    lines = (f"{name} = {target}" for name, target in points.items())
    (folder / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines]))
    monkeypatch.setenv("PYTHONPATH", f"{folder.parent}{os.pathsep}{ROOT}")


def run(pytester, body, *arguments):
    pytester.makepyfile(test_it=f"{PROJECT}\n{body}")
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)


ALL = """
    import pytest

    def test_ok(seqmatch_gate):
        assert seqmatch_gate(BASE, BASE, margins=MARGINS).verdict == "ok"

    def test_regressed(seqmatch_gate):
        seqmatch_gate(table([0.1, 0.2, 0.15, 0.13]), BASE, MARGINS)

    def test_inconclusive(seqmatch_gate):
        seqmatch_gate(OPEN, BASE, MARGINS)

    def test_skip(seqmatch_gate):
        seqmatch_gate(OPEN, BASE, MARGINS, on_inconclusive="skip")

    def test_pass(seqmatch_gate):
        assert seqmatch_gate(OPEN, BASE, MARGINS, on_inconclusive="pass").verdict == "inconclusive"

    def test_regressed_is_never_skipped(seqmatch_gate):
        seqmatch_gate(table([0.1, 0.2, 0.15, 0.13]), BASE, MARGINS, on_inconclusive="pass")

    def test_usage(seqmatch_gate):
        from harness.errors import RequestError
        with pytest.raises(RequestError, match="did you mean 'accuracy'"):
            seqmatch_gate(BASE, BASE, {"acuracy": 1})
        with pytest.raises(RequestError, match="on_inconclusive='skp' is unknown; did you mean 'skip'"):
            seqmatch_gate(BASE, BASE, MARGINS, on_inconclusive="skp")

    def test_options_reach_the_gate(seqmatch_gate):
        both = pd.concat([BASE, table([0.1] * 4, "bc")])
        report = seqmatch_gate(both, both, MARGINS, trainers=["bc"], tasks=["t"], seeds=[1, 2], level=0.8)
        assert (list(report.table["trainer"]), list(report.table["paired"]), report.level) == (["bc"], ["1-2"], 0.8)
"""


@pytest.mark.parametrize("named", [(), pytest.param(("-p", "pytest_seqmatch"), marks=pytest.mark.long)])
def test_the_fixture_passes_fails_and_skips(pytester, installed, named):
    """Naming the plug-in as well must not register it twice."""
    result = run(pytester, ALL, *named, "-rA")
    result.assert_outcomes(passed=4, failed=3, skipped=1)
    result.stdout.fnmatch_lines(["gate regressed (1 regressed)", "task *verdict", "t * accuracy ↑ * 0.02 * regressed"])
    result.stdout.fnmatch_lines(["gate inconclusive (1 inconclusive)", "FAILED test_it.py::test_inconclusive - *"])
    result.stdout.fnmatch_lines(
        ["SKIPPED * gate inconclusive (1 inconclusive)", "t * accuracy ↑ * 0.02 * inconclusive"]
    )
    result.stdout.no_fnmatch_line("*pytest_seqmatch.py:*")


def test_without_the_entry_point_it_can_be_named(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    run(pytester, ALL, "-p", "pytest_seqmatch").assert_outcomes(passed=4, failed=3, skipped=1)


def test_a_project_with_packages_of_the_same_names_runs_its_own_tests(pytester, installed):
    for name in ("harness", "tasks", "metrics", "trainers"):
        pytester.mkpydir(name)
    run(pytester, "    def test_own():\n        import harness, tasks\n").assert_outcomes(passed=1)


def test_pytest_starts_without_anything_heavy():
    code = (
        "import sys, pytest; before = set(sys.modules); import pytest_seqmatch\n"
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout == "['pytest_seqmatch']\n", run.stderr
