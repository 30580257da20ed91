"""What is kept of a training in the middle of it, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Snapshot:
    """The state of a training after some optimiser step.

    Attributes:
        tensors: by name, each with memory of its own.
        data: what JSON can hold.
    """

    tensors: Mapping[str, Tensor]
    data: Mapping[str, Any]


class Checkpoints(Protocol):
    """Where snapshots are kept; the harness lends it to a trainer.

    A trainer that trains in several stages calls ``load`` once at the beginning of each.
    """

    def load(self) -> Snapshot | None:
        """The last snapshot of this trial, if it is of the stage that begins now; None without one."""

    def due(self, step: int) -> bool:
        """Whether one is wanted after ``step`` optimiser steps."""

    def save(self, snapshot: Snapshot) -> None:
        """Keep a snapshot instead of the last one."""


class NoCheckpoints:
    """Keeps nothing."""

    def load(self) -> Snapshot | None:
        """There is none."""
        return None

    def due(self, step: int) -> bool:
        """Never."""
        del step
        return False

    def save(self, snapshot: Snapshot) -> None:
        """Forget it."""
        del snapshot
