"""Digests of the files of a finished trial, so that what is damaged or edited is not taken for what was measured."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.json_files import read_json

RECORD = "trial.json"


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder and below, by its path in there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): digest(path) for path in files}


def verified(path: Path) -> bytes:
    """The content of a file of a trial that lies beside its record, see ``verify``."""
    expected = _recorded(path.parent).get(path.name)
    if expected is None:
        return path.read_bytes()
    if not path.is_file():
        raise _wrong(path, path.parent, "is missing")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != expected:
        raise _wrong(path, path.parent, "is damaged or was edited")
    return content


def verify(path: Path, folder: Path) -> None:
    """Check all files of a folder of a trial against the digests in its record.

    Args:
        path: the folder.
        folder: of the trial; a record that is absent or of an older version vouches for nothing.

    Raises:
        StoreError: if the record cannot be read, or a file is absent or not as the trial wrote it.
        OSError: if a file cannot be read.
    """
    name = path.relative_to(folder).as_posix()
    for file, expected in _recorded(folder).items():
        if file.startswith(f"{name}/"):
            found = folder / file
            if not found.is_file():
                raise _wrong(found, folder, "is missing")
            if digest(found) != expected:
                raise _wrong(found, folder, "is damaged or was edited")


def _recorded(folder: Path) -> Mapping[str, str]:
    record = folder / RECORD
    try:
        content: Any = read_json(record)
        recorded: Mapping[str, str] = content.get("files", {})
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise StoreError(f"{record} cannot be read ({error}): delete {folder} and run the study again") from error
    return recorded


def _wrong(path: Path, folder: Path, how: str) -> StoreError:
    return StoreError(f"{path} cannot be read (it {how}): delete {folder} and run the study again")


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
