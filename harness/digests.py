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


def verify(path: Path, folder: Path) -> None:
    """Check a file of a trial, or all files of a folder of a trial, against the digests in its record.

    Args:
        path: the file or folder.
        folder: of the trial; a record that is absent or of an older version vouches for nothing.

    Raises:
        StoreError: if the record cannot be read, or a file is absent or not as the trial wrote it.
        OSError: if a file cannot be read.
    """
    record = folder / RECORD
    if not record.is_file():
        return
    advice = f"delete {folder} and run the study again"
    try:
        content: Any = read_json(record)
        recorded: Mapping[str, str] = content.get("files", {})
    except (OSError, ValueError, AttributeError) as error:
        raise StoreError(f"{record} cannot be read ({error}): {advice}") from error
    name = path.relative_to(folder).as_posix()
    for file, expected in recorded.items():
        if file == name or file.startswith(f"{name}/"):
            found = folder / file
            if not found.is_file():
                raise StoreError(f"{found} cannot be read (it is missing): {advice}")
            if digest(found) != expected:
                raise StoreError(f"{found} cannot be read (it is damaged or was edited): {advice}")


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
