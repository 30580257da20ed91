"""On-policy distillation by trl, from a teacher that learns from the same examples."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from seqmatch_trl.sft import SFT
from trainers.base import Budget, Context, Trainer

if TYPE_CHECKING:
    from datasets import Dataset

    from trainers.policy import Policy


@dataclass(frozen=True, kw_only=True)
class GKD(Trainer):
    """trl's ``GKDTrainer`` (Agarwal et al. 2024, arXiv 2306.13649) without a model from outside.

    A copy of the policy is fine-tuned first. Then the policy learns its distributions, at the end of prefixes that the
    policy wrote itself and of those in the data. What both spend counts.

    Attributes:
        teacher_share: of the budget that the teacher gets.
        on_policy_share: of the batches whose completions the policy writes itself (trl's ``lmbda``).
        beta: of the generalised Jensen-Shannon divergence: 0 is the forward, 1 the reverse KL divergence.
        temperature: at which the policy writes.
    """

    teacher_share: float = 0.5
    on_policy_share: float = 0.5
    beta: float = 0.5
    temperature: float = 1.0

    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        """Train the teacher, then the policy."""
        from seqmatch_trl.distillation import distil

        limits = {name: limit * self.teacher_share for name, limit in vars(budget).items() if limit is not None}
        part = Budget(**{**limits, "steps": max(1, round(limits["steps"]))})
        teacher = copy.deepcopy(policy)
        aside = replace(context, evaluate=lambda _: context.evaluate(policy))
        SFT().fit(teacher, examples, part, aside)
        return distil(self, teacher, policy, examples, budget, context)
