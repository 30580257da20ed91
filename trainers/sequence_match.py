"""SequenceMatch: match the occupancy of the model's own trajectories to the data's, with or without ``<bksp>``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from trainers.base import Budget, Context, Loss, Trainer
from trainers.batches import Batch, Trajectory, trajectories_of
from trainers.behavioral_cloning import noised
from trainers.divergences import DIVERGENCES
from trainers.loop import train
from trainers.mle import negative_log_likelihood
from trainers.noise import NoiseKind
from trainers.objective import Terms, soft_values, terms
from trainers.replay import ReplayBuffer

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor

    from trainers.batches import Sequences
    from trainers.policy import Policy


@dataclass(frozen=True, kw_only=True)
class SequenceMatch(Trainer):
    """The objective of Cundy & Ermon (2023) on plain sequences: no ``<bksp>``, no noise.

    Training begins with plain likelihood, because the levels V(s) of a model are arbitrary at first, and
    then anneals to ``beta L_cloning + (1 - beta) L_SequenceMatch``.

    Attributes:
        divergence: between the occupancies of data and model.
        alpha: entropy temperature, and weight of the curvature of phi.
        c: strength of the penalty of ``chi2_mixture``; in logit units only ``c alpha`` matters. The
            paper's value is not known; 1/4 is the constant of IQ-Learn's code.
        gamma: discount.
        value_weight: share of the data in the value term, the rest falls to roll-outs; None: 1/2, or 1
            where there is noise.
        cloning_share: share of the steps that clone only.
        final_beta: weight of cloning in the last step; it falls linearly from 1.
        buffer_size: trajectories in the replay buffer.
        refresh_every: optimiser steps between samplings.
        refresh: trajectories sampled each time.
        rollout_ratio: roll-outs per example in a batch.
    """

    divergence: str = "chi2_mixture"
    alpha: float = 0.01
    c: float = 0.25
    gamma: float = 0.998
    value_weight: float | None = None
    cloning_share: float = 0.5
    final_beta: float = 0.2
    buffer_size: int = 512
    refresh_every: int = 25
    refresh: int = 64
    rollout_ratio: float = 0.5

    def __post_init__(self) -> None:
        if self.divergence not in DIVERGENCES:
            raise ValueError(f"divergence must be one of {', '.join(DIVERGENCES)}, got {self.divergence!r}")
        for name, low, high in (("alpha", 0, float("inf")), ("gamma", 0, 1), ("rollout_ratio", 0, float("inf"))):
            if not low < getattr(self, name) <= high:
                raise ValueError(f"{name} must lie in ({low}, {high}], got {getattr(self, name)}")
        for name in ("cloning_share", "final_beta", "value_weight"):
            if getattr(self, name) is not None and not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        for name in ("buffer_size", "refresh_every", "refresh"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def data_share(self) -> float:
        """Share of the data in the value term."""
        return 0.5 if self.value_weight is None else self.value_weight

    def cloning_steps(self, steps: int) -> int:
        """Number of optimiser steps that clone only."""
        return round(self.cloning_share * steps)

    def beta(self, step: int, steps: int) -> float:
        """Weight of cloning at an optimiser step."""
        start = self.cloning_steps(steps)
        progress = (step - start) / max(steps - 1 - start, 1)
        return 1.0 - (1.0 - self.final_beta) * min(max(progress, 0.0), 1.0)

    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        """Train with roll-outs from the replay buffer once cloning alone is over."""
        rollouts = ReplayBuffer(
            [trajectory.prompt for trajectory in trajectories_of(examples, policy)],
            context,
            first_step=self.cloning_steps(budget.steps),
            batch=max(1, round(self.rollout_ratio * context.optimization.batch_size)),
            capacity=self.buffer_size,
            refresh_every=self.refresh_every,
            refresh=self.refresh,
        )
        return train(self, policy, examples, budget, context, rollouts)

    def loss(self, policy: Policy, batch: Batch) -> Loss:
        """Cloning alone at first, then the annealed mix of cloning and SequenceMatch."""
        logits = policy.logits(batch.data)
        cloning = negative_log_likelihood(logits, batch.data)
        steps = int(batch.data.acts.sum())
        if batch.step < self.cloning_steps(batch.steps):
            return Loss(cloning, steps, {"cloning": float(cloning.detach())})
        data = self._terms(logits, batch.data, policy)
        own = Terms(*3 * [torch.zeros_like(cloning)])
        if batch.rollouts is not None:
            own = self._terms(policy.logits(batch.rollouts), batch.rollouts, policy)
        weight, share = batch.rollout_weight, self.data_share
        objective = data.match - share * data.value - (1 - share) * weight * own.value
        if DIVERGENCES[self.divergence].penalised:
            objective = objective - self.c * self.alpha / 2 * (data.penalty + weight * own.penalty)
        beta = self.beta(batch.step, batch.steps)
        log = {
            "cloning": cloning,
            "sequence_match": -objective,
            "data_penalty": data.penalty,
            "rollout_penalty": weight * own.penalty,
        }
        return Loss(
            beta * cloning - (1 - beta) * objective, steps, {name: float(sum_.detach()) for name, sum_ in log.items()}
        )

    def _terms(self, logits: Tensor, sequences: Sequences, policy: Policy) -> Terms:
        values = soft_values(logits, sequences, self.gamma, policy.actions.eos)
        divergence = DIVERGENCES[self.divergence]
        scale = divergence.scale(self.alpha, self.c)
        return terms(values, sequences, gamma=self.gamma, scale=scale, divergence=divergence)


@dataclass(frozen=True, kw_only=True)
class SequenceMatchBackspace(SequenceMatch):
    """SequenceMatch with ``<bksp>``, on noised trajectories.

    Attributes:
        noise: eta, the probability of noise at each visit of a state.
        noise_kind: noise is "uniform" over the vocabulary, or a plausible error of the "task".
    """

    backspace: ClassVar[bool] = True

    noise: float = 0.05
    noise_kind: NoiseKind = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.noise < 1:
            raise ValueError(f"noise must lie in [0, 1), got {self.noise}")

    @property
    def data_share(self) -> float:
        """Share of the data in the value term; noise on the data alone forbids to mix in roll-outs."""
        return 1.0 if self.value_weight is None and self.noise > 0 else super().data_share

    def prepare(self, trajectories: list[Trajectory], policy: Policy, context: Context, step: int) -> list[Trajectory]:
        """Noise the trajectories afresh at every step."""
        return noised(trajectories, self.noise, self.noise_kind, policy, context, step)
