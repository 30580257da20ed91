"""The checkpoint of a running trial: one safetensors file beside the trials, whole or absent.

It holds the tensors of a ``trainers.checkpoints.Snapshot``; its JSON data, the learning curve and the measurements so
far are in the metadata, with the trial and the source code that wrote it and a digest of everything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import StoreError
from harness.mirror import Mirror
from harness.provenance import source_digest
from harness.writing import write_file, writing

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.checkpoints import Snapshot


@dataclass
class CheckpointFile:
    """Keeps the last snapshot of a trial in a file (``trainers.checkpoints.Checkpoints``).

    Attributes:
        path: of the file.
        identity: of the trial; a file of another is not gone on from.
        every: optimiser steps between checkpoints; 0: none are written.
        note: told why a file cannot be gone on from; training then starts anew.
        progress: what else belongs to the state of the trial, as JSON data.
        resume: takes the progress of the checkpoint that training goes on from.
    """

    path: Path
    identity: str
    every: int
    note: Callable[[str], None]
    progress: Callable[[], Any] = field(default=lambda: None)
    resume: Callable[[Any], None] = field(default=lambda _: None)
    _stage: int = 0

    def due(self, step: int) -> bool:
        """Whether ``step`` is a multiple of ``every``."""
        return self.every > 0 and step % self.every == 0

    def save(self, snapshot: Snapshot) -> None:
        """Replace the file.

        Raises:
            StoreError: if it cannot be written.
        """
        from safetensors.torch import save_file

        content = json.dumps({"stage": self._stage, "snapshot": dict(snapshot.data), "progress": self.progress()})
        metadata = {
            "identity": self.identity,
            "source": source_digest(),
            "content": content,
            "digest": _digest(snapshot.tensors, content),
        }
        with writing(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_file(self.path, lambda path: save_file(dict(snapshot.tensors), path, metadata))
        self._push()

    def _push(self) -> None:
        """Keep it at the URL of a mirror too; training goes on where that fails: only another machine would need it."""
        if mirror := Mirror.of(self.path.parent.parent):
            try:
                mirror.push(self.path)
            except StoreError as error:
                self.note(f"warning: another machine could not go on from this checkpoint: {error}")

    def load(self) -> Snapshot | None:
        """Read the file.

        Returns:
            None if there is no file, it is damaged, not of this trial and source code, or of another stage of training:
            each call of ``load`` begins one.
        """
        self._stage += 1
        if not self.path.exists():
            return None
        try:
            snapshot, content = self._read()
        except Exception as error:  # whatever safetensors and JSON raise on damaged files
            self.note(f"the checkpoint {self.path} is not used, training starts anew: {error}")
            return None
        if content["stage"] != self._stage:
            return None
        self.resume(content["progress"])
        return snapshot

    def _read(self) -> tuple[Snapshot, dict[str, Any]]:
        from safetensors import safe_open

        from trainers.checkpoints import Snapshot

        with safe_open(self.path, framework="pt") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
        if metadata.get("digest") != _digest(tensors, metadata.get("content", "")):
            raise ValueError("it is damaged")
        for name, present in (("identity", self.identity), ("source", source_digest())):
            if metadata[name] != present:
                raise ValueError(f"it was written by another {'trial' if name == 'identity' else 'version'}")
        content: dict[str, Any] = json.loads(metadata["content"])
        return Snapshot(tensors, content["snapshot"]), content


def _digest(tensors: Mapping[str, Tensor], content: str) -> str:
    import torch

    digest = hashlib.sha256(content.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
