"""One trial of a mirror: its folder on this machine, and its files at the URL.

An object store has no rename, so a trial is there if its ``trial.json`` is: that is written last, and deleted first
where another takes its place. Whatever comes from there is compared with the digests in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness.digests import RECORD, digest
from harness.errors import StoreError
from harness.remote_files import RemoteFiles
from harness.writing import move_into_place, write_file, writing

PUSHED = ".pushed"
"""File in the folder of a trial: the digest of its ``trial.json`` when that was last at the URL."""
_POLICY = "policy/"


class MirroredTrial:
    """A trial of a mirror.

    Args:
        folder: of the trial, in the mirror.
        remote: the files at the URL.
        lock: file that is locked while a trial is put in place.
    """

    def __init__(self, folder: Path, remote: RemoteFiles, lock: Path) -> None:
        self._folder, self._remote, self._lock = folder, remote, lock
        self._there = f"trials/{folder.name}"

    @property
    def is_here(self) -> bool:
        """Whether this machine has it, finished or failed."""
        return self._record() is not None

    @property
    def is_pushed(self) -> bool:
        """Whether what this machine has of it has been at the URL."""
        mark, record = self._folder / PUSHED, self._record()
        return record is not None and mark.is_file() and mark.read_text() == hashlib.sha256(record).hexdigest()

    @property
    def has_policy(self) -> bool:
        """Whether it is here and has kept a policy, be that at the URL only."""
        return bool(self._policy())

    def pull(self, scratch: Path) -> None:
        """Bring it, but for its policy; where it is replaced at the URL meanwhile, bring that.

        Args:
            scratch: folder on the same file system for what is being copied.

        Raises:
            StoreError: if it cannot be read, or a file is not as the trial wrote it.
        """
        problem, before = "", b""
        while True:
            content = self._remote.read(f"{self._there}/{RECORD}")
            if problem and content == before:
                raise StoreError(problem)
            with self.moving():
                if content is None:
                    self._drop(scratch)
                    return
                if not self._wants(content):
                    return
            here = self._record()
            files = {name: sha for name, sha in self._files(content).items() if not name.startswith(_POLICY)}
            lacking = {name: sha for name, sha in files.items() if here != content or not self._has(name, sha)}
            own = scratch / uuid.uuid4().hex
            own.mkdir()
            problem, before = self._fetch(lacking, own), content
            if not problem:
                break
        with self.moving():
            if not self._wants(content):  # a run on this machine was faster
                return
            if here == content:
                for name in lacking:
                    os.replace(own / name, self._folder / name)
            else:
                (own / RECORD).write_bytes(content)
                move_into_place(own, self._folder)
            if not self.is_pushed:
                self._note_pushed(content)

    def pull_policy(self, scratch: Path) -> None:
        """Bring its policy, if it has kept one; it appears whole, or not at all.

        Raises:
            StoreError: as ``pull``.
        """
        if problem := self._fetch(self._policy(), scratch):
            raise StoreError(problem)
        with self.moving():
            move_into_place(scratch / "policy", self._folder / "policy")

    def push(self) -> None:
        """Write it to the URL: it is absent there until all of it is there.

        Raises:
            StoreError: if it cannot be written.
        """
        record = self._folder / RECORD
        content = record.read_bytes()
        files = [f"{self._there}/{name}" for name in self._files(content)]
        old = {*self._remote.names(self._there)} - {*files}
        for name in sorted(old, key=f"{self._there}/{RECORD}".__ne__):  # its record first
            self._remote.remove(name)
        for name in files:
            self._remote.put(self._folder / name.removeprefix(f"{self._there}/"), name)
        self._remote.put(record, f"{self._there}/{RECORD}")
        with writing(self._folder):
            self._note_pushed(content)

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Hold this while a trial is put in place: a run and a reader on this machine may both do so."""
        from filelock import FileLock

        with FileLock(self._lock):
            yield

    def _drop(self, scratch: Path) -> None:
        """Delete here, in one move, what was deleted at the URL; what was never there is ahead, and stays."""
        if self.is_pushed:
            os.replace(self._folder, scratch / uuid.uuid4().hex)

    def _wants(self, content: bytes) -> bool:
        """Whether it is to be brought, with this record at the URL.

        What this machine could not write there yet is ahead, unless it is a failure that another machine has mended.
        """
        here = self._record()
        if here is None or here == content or self.is_pushed:
            return True
        return _status(content) == "finished" and _status(here) != "finished"

    def _fetch(self, files: Mapping[str, str | None], scratch: Path) -> str:
        """Copy files from the URL; return what is wrong with them."""
        for name, sha in files.items():
            path = scratch / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not self._remote.get(f"{self._there}/{name}", path):
                return self._unreadable(name, "it is missing")
            if sha is not None and digest(path) != sha:
                return self._unreadable(name, "it is damaged or was edited")
        return ""

    def _files(self, content: bytes) -> dict[str, str | None]:
        """Its files and their digests, which those of an older version lack."""
        try:
            recorded = json.loads(content).get("files")
            if recorded is not None:
                return dict(recorded)
        except (ValueError, TypeError, AttributeError) as error:
            raise StoreError(self._unreadable(RECORD, str(error))) from error
        names = [name.removeprefix(f"{self._there}/") for name in self._remote.names(self._there)]
        return {name: None for name in names if name != RECORD}

    def _policy(self) -> dict[str, str | None]:
        record = self._record()
        files = self._files(record) if record else {}
        return {name: sha for name, sha in files.items() if name.startswith(_POLICY)}

    def _unreadable(self, name: str, reason: str) -> str:
        trial = f"{self._remote.url}/{self._there}"
        return f"{trial}/{name} cannot be read ({reason}): delete {trial} and run the study again"

    def _has(self, name: str, sha: str | None) -> bool:
        path = self._folder / name
        return path.is_file() and sha in (None, digest(path))

    def _record(self) -> bytes | None:
        path = self._folder / RECORD
        return path.read_bytes() if path.is_file() else None

    def _note_pushed(self, content: bytes) -> None:
        text = hashlib.sha256(content).hexdigest()
        write_file(self._folder / PUSHED, lambda path: path.write_text(text))


def _status(content: bytes) -> object:
    try:
        return json.loads(content).get("status")
    except (ValueError, AttributeError):
        return None
