"""Disks that are full or cannot be written: real ones, mounted for the test where that is allowed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from small_studies import small_study, toy

import harness
from harness.errors import StoreError
from harness.store import Store
from harness.study import Study


def study() -> Study:
    return small_study(
        save_policies=True,
        budget={"steps": 4},
        optimization={"batch_size": 4},
        checkpoint_every=2,
        trainers={"mle": {}, "sequence_match": {"refresh": 2}},
        tasks={"letters": {"use": toy("Letters")}},
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    harness.run(study(), out)
    return out


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, in memory; only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def fill(folder: Path, leave: int) -> Path:
    ballast = folder / "ballast"
    ballast.write_bytes(b"\0" * (free(folder) - leave))
    return ballast


def equal(out: Path, whole: Path) -> None:
    tables = [harness.load_results(each).drop(columns="seconds") for each in (out, whole)]
    pd.testing.assert_frame_equal(*tables)
    assert not list(out.rglob(".tmp-*"))


def used(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_full_disk_is_one_error_and_the_study_goes_on_when_there_is_room(share, disk, whole):
    out = disk / "out"
    ballast = fill(disk, 8192 + round(share * used(whole)))
    with pytest.raises(StoreError, match="No space left on device"):
        harness.run(study(), out)
    if (out / "study.json").exists():
        assert set(harness.load_results(out)["status"]) <= {"finished", "missing"}
    ballast.unlink()
    harness.run(study(), out)
    equal(out, whole)


def test_a_disk_that_becomes_read_only_is_one_error_and_results_can_still_be_read(disk, whole):
    out = disk / "out"
    harness.run(study(), out, overrides=["seeds=1"])
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert set(harness.load_results(out)["status"]) == {"finished"}
    with pytest.raises(StoreError, match="Read-only file system"):
        harness.run(study(), out)
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    harness.run(study(), out)
    equal(out, whole)


def test_a_checkpoint_that_cannot_be_written_is_an_error_and_no_failed_trial(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(StoreError, match=r"cannot write .*checkpoints: .*No space left on device"):
        harness.run(study(), tmp_path)
    assert not list(Store(tmp_path).trials.glob("*"))
