"""The battery that the checks of trainers join."""

from harness.testing.battery import Battery, Tier
from harness.testing.trainer.subject import TrainerSubject

TRAINER: Battery[TrainerSubject] = Battery("trainer", {Tier.QUICK: 1, Tier.FULL: 1})
