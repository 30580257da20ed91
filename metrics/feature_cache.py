"""Features on disk: files that are whole or absent, and that no fault of a disk can change unnoticed."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES = hashlib.sha256().digest_size
SCRATCH = ".writing-"
DAY = 86_400
"""Seconds after which a scratch folder is that of a process which was killed."""


def read_features(file: Path, rows: int) -> NDArray[np.float32] | None:
    """Read what ``write_features`` wrote.

    Args:
        file: the file; its name is the key of the features.
        rows: number of texts n.

    Returns:
        Shape ``(n, d)``; None if there is no such file, or, with a warning, if it is not what was written under
        this name.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        warnings.warn(f"cannot read cached features, computing them again: {error}", stacklevel=3)
        return None
    digest, body = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if digest == _digest(file, body):
        features: NDArray[np.float32] = np.load(io.BytesIO(body), allow_pickle=False)
        if features.shape[0] == rows:
            return features
    warnings.warn(f"cached features are corrupt, computing them again: {file}", stacklevel=3)
    return None


def write_features(file: Path, features: NDArray[np.float32]) -> None:
    """Write features at once, so that other processes see all of the file or none.

    Features that cannot be written are still right: a full disk or a folder without permission is a warning.
    """
    buffer = io.BytesIO()
    np.save(buffer, features)
    body = buffer.getvalue()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=SCRATCH) as scratch:
            whole = Path(scratch) / file.name
            whole.write_bytes(_digest(file, body) + body)
            os.replace(whole, file)
        _sweep(file.parent)
    except OSError as error:
        warnings.warn(f"cannot cache features: {error}", stacklevel=3)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left; those that still write are left alone."""
    for left in folder.glob(f"{SCRATCH}*"):
        with contextlib.suppress(FileNotFoundError):  # another process sweeps, or has finished writing
            if time.time() - left.stat().st_mtime > DAY:
                shutil.rmtree(left, ignore_errors=True)


def _digest(file: Path, body: bytes) -> bytes:
    return hashlib.sha256(file.name.encode() + b"\0" + body).digest()
