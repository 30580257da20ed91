"""Files at a URL that fsspec can open, read and written one by one: each is there whole, or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import StoreError, one_line
from harness.writing import SCRATCH

T = TypeVar("T")

_AT_A_TIME = 16
_EXTRAS = {"s3": "seqmatch[s3]", "s3a": "seqmatch[s3]"}


class RemoteFiles:
    """The files below a URL, by their path from there.

    Args:
        url: without a slash at its end.
        kept: where the results are that could not be written, for messages.
    """

    def __init__(self, url: str, kept: Path) -> None:
        self.url, self._kept = url, kept

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is none.

        Raises:
            StoreError: if it cannot be read.
        """
        with self._reading(name):
            try:
                content: bytes = self._system.cat_file(self._path(name))
            except FileNotFoundError:
                return None
            return content

    def get(self, name: str, path: Path) -> bool:
        """Copy a file to this machine; whether there is one.

        Raises:
            StoreError: if it cannot be read.
        """
        with self._reading(name):
            try:
                self._system.get_file(self._path(name), str(path))
            except FileNotFoundError:
                return False
            return True

    def put(self, path: Path, name: str) -> None:
        """Copy a file of this machine there, over an older one.

        Raises:
            StoreError: if it cannot be written.
        """
        with self._writing(name):
            if self._stores_objects:
                self._system.put_file(str(path), self._path(name))
                return
            folder, _, last = self._path(name).rpartition("/")
            scratch = f"{folder}/{SCRATCH}{uuid.uuid4().hex[:8]}-{last}"
            self._system.makedirs(folder, exist_ok=True)
            self._system.put_file(str(path), scratch)
            self._system.mv(scratch, self._path(name))

    def remove(self, name: str) -> None:
        """Delete a file; none is fine too.

        Raises:
            StoreError: if it cannot be deleted.
        """
        with self._writing(name):
            try:
                self._system.rm_file(self._path(name))
            except FileNotFoundError:
                return

    def names(self, folder: str) -> list[str]:
        """All files in a folder and below; none if there is no such folder.

        Raises:
            StoreError: if it cannot be listed.
        """
        with self._reading(folder):
            self._system.invalidate_cache()
            try:
                found: list[str] = self._system.find(self._path(folder))
            except FileNotFoundError:
                return []
            return [path.removeprefix(f"{self._opened[1]}/") for path in found]

    def top(self) -> list[str]:
        """What is right below the URL, folders too; none if there is nothing yet.

        Raises:
            StoreError: if it cannot be listed.
        """
        with self._reading(""):
            self._system.invalidate_cache()
            try:
                found: list[str] = self._system.ls(self._opened[1], detail=False)
            except FileNotFoundError:
                return []
            return [path.rstrip("/").rpartition("/")[2] for path in found]

    def half_written(self) -> list[str]:
        """Files right below the URL that killed processes were writing; an object store keeps none.

        Raises:
            StoreError: if they cannot be listed.
        """
        with self._reading(""):
            if self._stores_objects:
                return []
        return [name for name in self.top() if name.startswith(SCRATCH)]

    def each(self, action: Callable[[T], object], items: Iterable[T]) -> None:
        """Do something for every item, several at a time where the file system allows that."""
        with self._reading(""):
            threads = _AT_A_TIME if self._stores_objects else 1
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(action, items):
                pass

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        system, root = url_to_fs(self.url)
        return system, root.rstrip("/")

    @property
    def _system(self) -> Any:
        return self._opened[0]

    @property
    def _stores_objects(self) -> bool:
        """Whether it writes an object whole, knows no folders and may be used by several threads: S3, GCS, Azure."""
        return bool(self._system.async_impl)

    def _path(self, name: str) -> str:
        return f"{self._opened[1]}/{name}"

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        with self._told("read", name, "check the URL, the network and your credentials"):
            yield

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        with self._told("write", name, f"what is finished is kept in {self._kept}; run again, which writes the rest"):
            yield

    @contextmanager
    def _told(self, what: str, name: str, advice: str) -> Iterator[None]:
        """Turn whatever goes wrong into a line: every file system has exceptions of its own."""
        try:
            yield
        except ImportError as error:
            scheme = self.url.partition(":")[0]
            extra = f"pip install '{_EXTRAS[scheme]}'" if scheme in _EXTRAS else "install it on every node"
            raise StoreError(f"{self.url} needs a package that is not there ({error}): {extra}") from error
        except Exception as error:
            raise StoreError(f"cannot {what} {self.url}/{name} ({one_line(error)}): {advice}") from error
