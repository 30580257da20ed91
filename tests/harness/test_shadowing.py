import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_studies import TOYS

import harness

ROOT = TOYS.parents[2]


def importing(folder: Path, path: str, *flags: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path[:0] = {path.split(':')!r}; import harness; print('torch' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-P", *flags, "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_package_imports_without_torch(tmp_path):
    assert importing(tmp_path, str(ROOT)).stdout == "False\n"


@pytest.mark.parametrize("name", ["trainers", "tasks", "metrics"])
@pytest.mark.parametrize("kind", ["file", "package", "folder"])
def test_a_file_or_package_in_the_way_is_named(tmp_path, name, kind):
    if kind == "file":
        thief = tmp_path / f"{name}.py"
        thief.touch()
    else:
        thief = tmp_path / name
        thief.mkdir()
        (thief / ("__init__.py" if kind == "package" else "other.py")).touch()
    run = importing(tmp_path, f"{tmp_path}:{ROOT}")
    if kind == "folder":  # Python prefers a regular package to a folder without __init__.py
        assert run.returncode == 0
    else:
        assert f"ImportError: {thief} hides the package '{name}' of seqmatch" in run.stderr


def test_a_missing_sibling_is_named(tmp_path):
    copy = tmp_path / "site" / "harness"
    copy.mkdir(parents=True)
    (copy / "__init__.py").write_text((ROOT / "harness" / "__init__.py").read_text())
    run = importing(tmp_path, f"{tmp_path}/site", "-S")  # without site-packages, where the real ones may be
    assert "package 'trainers' is missing beside harness" in run.stderr


def test_what_is_offered_is_there_and_nothing_else():
    assert callable(harness.run)
    assert callable(harness.load_results)
    with pytest.raises(AttributeError, match="has no attribute 'rum'"):
        _ = harness.rum


def test_the_version_is_that_of_the_distribution(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"version of {name}")
    assert harness.__version__ == "version of seqmatch"
