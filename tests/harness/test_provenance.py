import subprocess
from pathlib import Path

import pytest

from harness.provenance import PACKAGES, git_state, library_versions, source_digest, version


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(f"# {package}\n")
    return tmp_path


def git(home: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    run = subprocess.run(["git", *identity, "-C", home, *arguments], capture_output=True, text=True, check=True)
    return run.stdout.strip()


def digest(home: Path) -> str:
    source_digest.cache_clear()
    return source_digest(home)


def test_the_digest_follows_the_content_and_the_place_of_source_files_only(home, tmp_path):
    first = digest(home)
    (home / "tasks" / "notes.txt").write_text("x")
    assert digest(home) == first
    (home / "tasks" / "new.py").write_text("x = 1\n")
    second = digest(home)
    (home / "tasks" / "new.py").rename(home / "tasks" / "newer.py")
    third = digest(home)
    (home / "tasks" / "newer.py").write_text("x = 2\n")
    assert len({first, second, third, digest(home)}) == 4


def test_a_checkout_has_a_commit_and_a_dirty_flag(home):
    def state():
        git_state.cache_clear()
        return git_state(home)

    assert state() is None
    git(home, "init", "-q")
    assert state() is None
    git(home, "add", ".")
    git(home, "commit", "-qm", "x")
    assert state() == {"commit": git(home, "rev-parse", "HEAD"), "dirty": False}
    (home / "unrelated.txt").write_text("x")
    assert state()["dirty"] is False
    (home / "tasks" / "__init__.py").write_text("# changed\n")
    assert state()["dirty"] is True


def test_packages_installed_inside_somebody_s_checkout_have_no_commit(home):
    git(home, "init", "-q")
    (home / "thesis.txt").write_text("x")
    git(home, "add", "thesis.txt")
    git(home, "commit", "-qm", "x")
    git_state.cache_clear()
    assert git_state(home) is None


def test_versions():
    assert library_versions()["torch"] == version("torch") != "unknown"
    assert version("no-such-distribution") == "unknown"
