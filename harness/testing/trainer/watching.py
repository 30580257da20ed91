"""What a trainer does while it trains, seen from outside: its clocks, its optimiser steps, the batches of its loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from harness.testing.battery import skip
from harness.testing.trainer.subject import TrainerSubject
from trainers.base import Loss, Meter, Trainer
from trainers.batches import Batch

if TYPE_CHECKING:
    from trainers.policy import Policy


@dataclass(frozen=True)
class Clocks:
    """Readings of a meter.

    Attributes:
        steps, tokens, generated_tokens, flops: as of ``Meter``.
    """

    steps: int
    tokens: int
    generated_tokens: int
    flops: float


def _nothing(meter: WatchedMeter) -> None:
    del meter


@dataclass(kw_only=True)
class WatchedMeter(Meter):
    """A meter that remembers what it showed after every optimiser step.

    Attributes:
        history: a reading per optimiser step.
        after: called after each, with the meter.
    """

    history: list[Clocks] = field(default_factory=list)
    after: Callable[[WatchedMeter], None] = _nothing

    def train(self, tokens: int) -> None:
        """Count one optimiser step over ``tokens`` input tokens."""
        super().train(tokens)
        self.history.append(Clocks(self.steps, self.tokens, self.generated_tokens, self.flops))
        self.after(self)


@contextmanager
def optimizer_steps() -> Iterator[list[int]]:
    """Note every step of a torch optimiser: the identity of the optimiser."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    seen = list[int]()

    def note(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        del args, kwargs
        seen.append(id(optimizer))

    handle = register_optimizer_step_post_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


def batches_of(subject: TrainerSubject, **fit: Any) -> list[Batch]:
    """The batches that the shared loop hands to ``loss`` in a short training.

    The check is skipped where the trainer has no ``loss`` of its own, or its ``fit`` never calls it.
    """
    cls, seen = subject.plugin.cls, list[Batch]()
    if cls.loss is Trainer.loss:
        skip("the trainer owns fit() and has no loss() to look at")

    def loss(self: Trainer, policy: Policy, batch: Batch) -> Loss:
        seen.append(batch)
        return cls.loss(self, policy, batch)

    subject.with_class(type(cls.__name__, (cls,), {"loss": loss, "__module__": cls.__module__})).fit(**fit)
    if not seen:
        skip("fit() of the trainer never calls its loss()")
    return seen
