"""The tests that ``seqmatch new`` writes pass: the templates keep the contracts that the kit checks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness.scaffold import write_package

ROOT = Path(harness.__file__).parents[1]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["trainer", "task", "metric"])
def test_the_tests_of_a_new_package_pass(tmp_path, kind):
    _, folder = write_package(kind, f"my-{kind}", tmp_path / "package")
    pip = ["install", "-q", "--no-deps", "--no-build-isolation", "--target", tmp_path / "site", folder]
    subprocess.run([sys.executable, "-m", "pip", *pip], check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{ROOT}"}
    for command in (["pytest", "-q", "tests"], ["harness", "check", kind, f"my-{kind}"]):
        run = subprocess.run(
            [sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stdout + run.stderr
