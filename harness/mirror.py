"""A results folder at a URL, and its mirror on this machine, which everything else works on.

The URL has the files of a results folder under the same names, and counts: what is deleted there is deleted from
mirrors. A mirror lacks policies until they are asked for, and is ahead by what could not be written to the URL yet.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.assets import cache_folder
from harness.errors import StoreError
from harness.mirrored_trial import MirroredTrial
from harness.remote_files import RemoteFiles
from harness.writing import SCRATCH, write_file, writing

STATE = ".mirror"
"""Folder in a mirror that says of what it is one."""
MEASURED = "measured-*.parquet"
"""Names of the tables of metrics that were measured again."""


def location() -> Path:
    """Where mirrors are: ``$SEQMATCH_RESULTS_CACHE``, else in the cache folder."""
    chosen = os.environ.get("SEQMATCH_RESULTS_CACHE")
    return Path(chosen) if chosen else cache_folder() / "results"


class Mirror:
    """The mirror of a URL.

    Args:
        url: of a results folder.
        folder: of the mirror; None: the one of this URL in ``location``.
    """

    def __init__(self, url: str, folder: Path | None = None) -> None:
        self.url = url.rstrip("/")
        self.folder = folder or location().absolute() / _folder_name(self.url)
        self._remote = RemoteFiles(self.url, self.folder)

    @classmethod
    def of(cls, folder: Path) -> Mirror | None:
        """The mirror that a folder is; None if it is a folder of its own, a copy of a mirror too."""
        try:
            url = (folder / STATE / "url").read_text()
        except OSError:
            return None
        return cls(url, folder) if folder.name == _folder_name(url) else None

    def make(self) -> None:
        """Make the folder, empty, if it is not there.

        Raises:
            StoreError: if it cannot be written.
        """
        with writing(self.folder):
            (self.folder / STATE).mkdir(parents=True, exist_ok=True)
            (self.folder / "trials").mkdir(exist_ok=True)
            if not (self.folder / STATE / "url").is_file():
                write_file(self.folder / STATE / "url", lambda path: path.write_text(self.url))

    def trial(self, label: str) -> MirroredTrial:
        """A trial of the mirror, be it there or not."""
        return MirroredTrial(self.folder / "trials" / label, self._remote, self.folder / STATE / "move.lock")

    def pull(self, labels: Collection[str] | None = None) -> None:
        """Bring the mirror to what is at the URL: the study, what was measured again, and trials without policies.

        Args:
            labels: of the trials; None: those of the study.

        Raises:
            StoreError: if the URL cannot be read, or a file there is not as its trial wrote it.
        """
        with self._pulling() as scratch:
            study = self._remote.read("study.json")
            self._take("study.json", study)
            for name in fnmatch.filter(self._remote.top(), MEASURED):
                self._take(name, self._remote.read(name))
            wanted = _labels(study) if labels is None else labels
            self._remote.each(lambda label: self.trial(label).pull(scratch), wanted)

    def pull_trial(self, label: str) -> bool:
        """Bring one trial as ``pull`` does; whether it is there."""
        with self._pulling() as scratch:
            self.trial(label).pull(scratch)
        return self.trial(label).is_here

    def pull_policy(self, label: str) -> None:
        """Bring the policy of a trial that is here, if it has kept one that is not.

        Raises:
            StoreError: if it cannot be read, or is not as the trial wrote it.
        """
        trial = self.trial(label)
        if trial.has_policy and not (self.folder / "trials" / label / "policy").is_dir():
            with self._pulling() as scratch:
                trial.pull_policy(scratch)

    def pull_file(self, name: str) -> Path:
        """Bring a file that is of no trial.

        Raises:
            StoreError: if it cannot be read, or there is none.
        """
        self.make()
        content = self._remote.read(name)
        if content is None:
            raise StoreError(f"{self.url}/{name} does not exist; give the --out of a run, or its results.parquet")
        self._take(name, content)
        return self.folder / name

    def pull_checkpoint(self, path: Path) -> None:
        """Bring the checkpoint of a trial if there is one: another machine may have gone on from the one here.

        Raises:
            StoreError: if it cannot be read.
        """
        with writing(self.folder):
            path.parent.mkdir(exist_ok=True)
            scratch = path.with_name(f"{SCRATCH}{uuid.uuid4().hex[:8]}-{path.name}")
            try:
                if self._remote.get(self._name(path), scratch):
                    os.replace(scratch, path)
            finally:
                scratch.unlink(missing_ok=True)

    def push(self, path: Path) -> None:
        """Write a file of the mirror to the URL, over an older one.

        Raises:
            StoreError: if it cannot be written.
        """
        self._remote.put(path, self._name(path))

    def push_missing(self, labels: Iterable[str]) -> None:
        """Write those trials to the URL that are here and not there.

        Raises:
            StoreError: if one cannot be written.
        """
        for trial in map(self.trial, labels):
            if trial.is_here and not trial.is_pushed:
                trial.push()

    def drop(self, path: Path) -> None:
        """Delete at the URL a file that the mirror has, or had.

        Raises:
            StoreError: if it cannot be deleted.
        """
        self._remote.remove(self._name(path))

    def clean(self, pending: Collection[str]) -> None:
        """Delete the checkpoints at the URL of trials that are not pending, and what a killed run has half written.

        Raises:
            StoreError: if they cannot be listed or deleted.
        """
        unwanted = [name for name in self._remote.names("checkpoints") if Path(name).stem not in pending]
        for name in [*unwanted, *self._remote.half_written()]:
            self._remote.remove(name)

    def check_writable(self) -> None:
        """Write a file to the URL and delete it.

        Raises:
            StoreError: if that cannot be done.
        """
        self._remote.put(self.folder / STATE / "url", ".writable")
        self._remote.remove(".writable")

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _take(self, name: str, content: bytes | None) -> None:
        """Give a file the content that it has at the URL."""
        with writing(self.folder):
            path = self.folder / name
            if content is None:
                path.unlink(missing_ok=True)
            elif not path.is_file() or path.read_bytes() != content:
                write_file(path, lambda scratch: scratch.write_bytes(content))

    @contextmanager
    def _pulling(self) -> Iterator[Path]:
        """A folder for what is being copied; one pull at a time, so that what killed ones left can be deleted."""
        from filelock import FileLock

        self.make()
        with writing(self.folder), FileLock(self.folder / STATE / "pull.lock"):
            scratch = self.folder / STATE / "pull"
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            try:
                yield scratch
            finally:
                shutil.rmtree(scratch, ignore_errors=True)


def _folder_name(url: str) -> str:
    tail = re.sub(r"[^A-Za-z0-9._-]", "-", url.rpartition("/")[2])
    return f"{tail}-{hashlib.sha256(url.encode()).hexdigest()[:16]}"


def _labels(study: bytes | None) -> list[str]:
    """The trials of a study; none where it is damaged, which its reader will say."""
    try:
        return [str(trial["label"]) for trial in json.loads(study or b"{}").get("trials", [])]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []
