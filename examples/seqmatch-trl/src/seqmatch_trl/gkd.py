"""On-policy distillation by trl, from a teacher that learns from the same examples."""

import copy
from dataclasses import dataclass, replace
from functools import partial

from datasets import Dataset
from trl.experimental.gkd import GKDConfig

from seqmatch_trl.isolation import actions_only
from seqmatch_trl.on_policy import OnPolicy
from seqmatch_trl.running import run
from seqmatch_trl.sft import SFT
from trainers.base import Budget, Context, Trainer
from trainers.policy import Policy


@dataclass(frozen=True, kw_only=True)
class GKD(Trainer):
    """trl's ``GKDTrainer`` (Agarwal et al. 2024, arXiv 2306.13649), with no model from outside.

    A copy of the policy is fine-tuned by ``sft`` and then teaches it, after prefixes of the data and after those that
    the policy wrote itself. The budget covers both; until its turn comes, the policy is measured as it came.

    Attributes:
        teacher_share: of the budget, spent on the teacher.
        lmbda: share of the batches whose completions the policy writes itself.
        beta: of the generalised Jensen-Shannon divergence; 0 is the forward, 1 the reverse KL divergence.
        temperature: at which it writes.
    """

    teacher_share: float = 0.5
    lmbda: float = 0.5
    beta: float = 0.5
    temperature: float = 1.0

    def __post_init__(self) -> None:
        for name in ("lmbda", "beta"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        for name, high in (("teacher_share", 1), ("temperature", 100)):
            if not 0 < getattr(self, name) <= high:
                raise ValueError(f"{name} must lie in (0, {high}], got {getattr(self, name)}")

    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        """Train the teacher, then the policy."""
        limits = {name: self.teacher_share * limit for name, limit in vars(budget).items() if limit}
        part = Budget(**{**limits, "steps": max(1, int(limits["steps"]))})
        teacher = copy.deepcopy(policy)
        SFT().fit(teacher, examples, part, replace(context, evaluate=lambda _: context.evaluate(policy)))
        config = partial(
            GKDConfig,
            lmbda=self.lmbda,
            beta=self.beta,
            temperature=self.temperature,
            max_new_tokens=context.max_new_tokens,
        )
        with actions_only(teacher):
            return run(OnPolicy, policy, examples, budget, context, "rollout", config, teacher_model=teacher.model)
