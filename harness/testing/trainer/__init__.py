"""Checks of trainers; importing this module fills the battery."""

from harness.testing.trainer import (
    budgets,
    declaration,
    evaluation,
    inputs,
    learning,
    losses,
    masking,
    odd_data,
    outcome,
    process,
    reproducibility,
)
from harness.testing.trainer.battery import TRAINER
from harness.testing.trainer.subject import TrainerSubject

__all__ = ["TRAINER", "TrainerSubject", "budgets", "learning", "reproducibility"]
