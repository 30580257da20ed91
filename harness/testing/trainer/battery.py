"""The battery that the checks of trainers join."""

from harness.testing.battery import Battery, Tier
from harness.testing.trainer.subject import TrainerSubject

# What is left for a trainer that does not learn, owns fit(), spends nothing and is named by its file.
TRAINER: Battery[TrainerSubject] = Battery("trainer", {Tier.QUICK: 33, Tier.FULL: 36})
