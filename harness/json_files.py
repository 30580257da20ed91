"""JSON files that are read many times: parsed once for as long as the file stays what it is."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """The content of a file, which the caller must not change.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no JSON.
    """
    state = path.stat()
    return _parsed(path, (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns))


@lru_cache(maxsize=4096)
def _parsed(path: Path, state: tuple[int, ...]) -> Any:
    del state
    return json.loads(path.read_bytes())
