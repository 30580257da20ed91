"""Files and folders that appear whole, or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import StoreError

SCRATCH = ".tmp-"
"""Names of what is being written begin so; a killed run leaves them behind."""


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file that appears whole, or not at all."""
    scratch = path.parent / f"{SCRATCH}{uuid.uuid4().hex[:8]}-{path.name}"
    try:
        write(scratch)
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def move_into_place(scratch: Path, folder: Path) -> None:
    """Rename a directory, replacing an older one.

    Args:
        scratch: complete, on the same file system.
        folder: where it is to be.
    """
    if folder.exists():
        old = folder.with_name(f"{SCRATCH}old-{uuid.uuid4().hex[:8]}")
        os.replace(folder, old)
        os.replace(scratch, folder)
        shutil.rmtree(old)
    else:
        os.replace(scratch, folder)


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Turn what the operating system says against writing to ``out`` into a StoreError."""
    try:
        yield
    except Exception as error:
        # safetensors and tokenizers have exceptions of their own, with the words of Rust: "... (os error 28)"
        if not isinstance(error, OSError) and "(os error " not in str(error):
            raise
        raise StoreError(f"cannot write results to {out}: {error}") from error
