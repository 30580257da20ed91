"""The example of the gate as a user runs it: real training, from a folder of its own."""

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import harness
from harness.cli import main

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[1]
WORSE = ("--set", 'trainers.guarded.use="impatient.py:Impatient"')


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the example with its baseline trained."""
    folder = tmp_path_factory.mktemp("example") / "gate"
    shutil.copytree(ROOT / "examples" / "gate", folder, ignore=shutil.ignore_patterns("__pycache__"))
    harness.run(folder / "study.toml", folder / "baseline")
    return folder


def pytest_in(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-p", "pytest_seqmatch", "--baseline", "baseline", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def test_a_second_training_passes(project):
    run = pytest_in(project)
    assert run.returncode == 0, run.stdout
    assert "1 passed" in run.stdout


def test_a_trainer_made_worse_on_purpose_fails_the_test_and_the_command(project, monkeypatch):
    run = pytest_in(project, *WORSE, "--basetemp", "made")
    assert run.returncode == 1, run.stderr
    assert "gate regressed (3 regressed)" in run.stdout
    assert 'changed: trainer.use: "mle" -> "impatient.py:Impatient"' in run.stdout
    margins = ("--margin", "kl_forward=10%", "--margin", "perplexity=0.05")
    reports = ("--junit", "gate.xml", "--markdown", "gate.md")
    monkeypatch.chdir(project)
    monkeypatch.setattr(
        sys, "argv", ["seqmatch", "gate", "made/candidate0", "--baseline", "baseline", *margins, *reports]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    (suite,) = ET.parse(project / "gate.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "2", "0")
    assert (project / "gate.md").read_text().startswith("### ❌ seqmatch gate regressed")
