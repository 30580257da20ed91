"""A trainer learns: losses are finite and fall, and a batch it sees again and again it learns by heart."""

from __future__ import annotations

import math

from harness.testing.battery import require
from harness.testing.trainer.battery import TRAINER
from harness.testing.trainer.subject import TrainerSubject
from trainers.base import Budget


@TRAINER.check()
def losses_are_finite(subject: TrainerSubject) -> None:
    """Every loss of the learning curve is a finite number."""
    losses = subject.fit(budget=Budget(steps=8)).losses
    require(losses, "the learning curve has no row with a 'loss': call context.report({'step': ..., 'loss': ...})")
    broken = [step for step, loss in enumerate(losses) if not math.isfinite(loss)]
    require(not broken, f"the loss is not finite in rows {broken} of the learning curve")
