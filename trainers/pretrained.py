"""No training at all: the policy as it came, the floor of every table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from trainers.base import Budget, Context, Trainer

if TYPE_CHECKING:
    from datasets import Dataset

    from trainers.policy import Policy


@dataclass(frozen=True, kw_only=True)
class Pretrained(Trainer):
    """Returns the policy untouched."""

    learns: ClassVar[bool] = False

    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        """Spend nothing."""
        del examples, budget, context
        return policy
