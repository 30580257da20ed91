"""Where results are: a path, or a URL that has a mirror on this machine."""

from __future__ import annotations

import re
from pathlib import Path

from harness.errors import RequestError
from harness.mirror import Mirror

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://.*[^/]")
_COLLAPSED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_TABLES = (".parquet", ".csv")


def mirror_at(place: str | Path) -> Mirror | None:
    """The mirror of a URL; None for a path. The drive letter of a path makes no URL of it.

    Raises:
        RequestError: if the place is a path that seems to have been a URL before.
    """
    text = str(place)
    if isinstance(place, str) and _URL.match(text):
        return Mirror(text)
    path = Path(place)
    if _COLLAPSED.match(path.as_posix()) and not Path(path.parts[0]).exists():
        raise RequestError(f"{path} was a URL before it became a path: give it as a text, with both slashes")
    return None


def opened(place: str | Path) -> Path:
    """The results folder or table at a path or URL; that of a URL is copied here, or brought up to date.

    Raises:
        StoreError: if the URL cannot be read.
    """
    mirror = mirror_at(place)
    if mirror is None:
        return Path(place)
    if mirror.url.endswith(_TABLES):
        parent, _, name = mirror.url.rpartition("/")
        return Mirror(parent).pull_file(name)
    mirror.pull()
    return mirror.folder


def place_of(path: Path) -> str:
    """How a results folder, or a file in one, is called in messages: a mirror by its URL."""
    if mirror := Mirror.of(path):
        return mirror.url
    mirror = Mirror.of(path.parent)
    return f"{mirror.url}/{path.name}" if mirror else str(path)
