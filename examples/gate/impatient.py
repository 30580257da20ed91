"""A trainer that is worse on purpose: it stops after a tenth of its steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trainers.mle import MaximumLikelihood

if TYPE_CHECKING:
    from datasets import Dataset

    from trainers.base import Budget, Context
    from trainers.policy import Policy


@dataclass(frozen=True, kw_only=True)
class Impatient(MaximumLikelihood):
    """Maximum likelihood that gives up early.

    Attributes:
        share: of the steps that it takes.
    """

    share: float = 0.1

    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        """Train for a share of the budget."""
        return super().fit(policy, examples, replace(budget, steps=max(1, round(self.share * budget.steps))), context)
