"""Which weights a model's name stands for: the content of a folder, or a commit of a hub repository."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from metrics.base import MetricError


@dataclass(frozen=True)
class ModelSource:
    """Exactly these weights, for loading them and as a part of cache keys.

    Attributes:
        name: folder, or hub id.
        commit: commit of a hub repository; None: a folder.
        digest: SHA-256 of a folder's files; None: a hub repository.
    """

    name: str
    commit: str | None = None
    digest: str | None = None

    @property
    def identity(self) -> str:
        """Equal for equal weights: a folder's content whatever its path, or hub id and commit."""
        return self.digest or f"{self.name}@{self.commit}"


def locate_model(model: str) -> ModelSource:
    """Find the weights of a model.

    Args:
        model: folder of a Hugging Face model, hub id, or ``hub id@revision`` (branch, tag or commit).

    Returns:
        The source; of a hub repository, the commit to which the revision resolves now.

    Raises:
        MetricError: if there is no such model.
    """
    folder = Path(model)
    if not folder.is_dir():
        name, _, revision = model.partition("@")
        return ModelSource(name, commit=_hub_commit(name, revision or "main"))
    if not (folder / "config.json").is_file():
        raise MetricError(f"feature model {model!r}: the folder has no config.json, so it is no Hugging Face model")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    stamps = tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files)
    return ModelSource(model, digest=_content_digest(stamps))


@lru_cache(maxsize=8)
def _content_digest(stamps: tuple[tuple[Path, int, int], ...]) -> str:
    """Digest of the names and contents of files; size and time of change only let one process read them once."""
    digest = hashlib.sha256()
    for path, size, _ in stamps:
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _hub_commit(name: str, revision: str) -> str:
    from transformers.utils.hub import cached_file

    try:
        config = cached_file(name, "config.json", revision=revision)
    except (OSError, ValueError) as error:
        raise MetricError(f"feature model {name!r} is neither a folder nor a model of the hub: {error}") from error
    return Path(str(config)).parent.name
