"""Checks of trainers; importing this module fills the battery."""

from harness.testing.trainer import (
    budgets,
    declaration,
    elsewhere,
    evaluation,
    inputs,
    learning,
    losses,
    masking,
    models,
    odd_data,
    outcome,
    process,
    reproducibility,
    trials,
)
from harness.testing.trainer.battery import TRAINER
from harness.testing.trainer.subject import TrainerSubject

__all__ = [
    "TRAINER",
    "TrainerSubject",
    "budgets",
    "declaration",
    "elsewhere",
    "evaluation",
    "inputs",
    "learning",
    "losses",
    "masking",
    "models",
    "odd_data",
    "outcome",
    "process",
    "reproducibility",
    "trials",
]
