"""SequenceMatch: match the occupancy of the model's own trajectories to the data's, with or without ``<bksp>``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

import torch

from trainers.base import Context, Loss, Optimization, Trainer
from trainers.batches import Batch, Sequences, Trajectory, finished
from trainers.divergences import DIVERGENCES
from trainers.levels import Levels, level_head, raised
from trainers.mle import negative_log_likelihood
from trainers.noise import Noise
from trainers.noised import NoisedTrainer
from trainers.objective import Terms, slots_that_count, terms
from trainers.rollouts import Rollouts
from trainers.scores import Scores, score

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor

    from trainers.base import Context
    from trainers.policy import Policy


@dataclass(frozen=True, kw_only=True)
class SequenceMatch(Trainer):
    """The objective of Cundy & Ermon (2023) on plain sequences: no ``<bksp>``, no noise.

    Training begins with plain likelihood, because the levels V(s) of a model are arbitrary at first, then
    anneals to ``beta L_cloning + (1 - beta) L_SequenceMatch``, and goes on with that.

    Attributes:
        divergence: between the occupancies of data and model.
        alpha: entropy temperature, and weight of the curvature of phi.
        c: strength of the penalty of ``chi2_mixture``; in logit units only ``c alpha`` matters. The
            paper's value is not known; 1/4 is the constant of IQ-Learn's code.
        gamma: discount.
        value_weight: share of the data in the value term, the rest falls to roll-outs; None: 1/2, or 1
            where there is noise on the data alone, or a text of the data is cut.
        semi_gradient: no gradient flows through V(s'), as with the target networks of Q-learning.
        levels: V(s) is the log-sum-exp of the "logits" alone, or a "head" of its own may shift it, which changes
            the objective but not the policy.
        level_warmup_share: share of the steps, after those that clone only, that trains the head alone.
        cloning_share: share of the steps that clone only.
        annealing_share: share of the steps over which the weight of cloning then falls from 1, linearly; at most
            what is left of them.
        final_beta: the weight of cloning that it falls to, and keeps.
        buffer_size: trajectories in the replay buffer.
        refresh_every: optimiser steps between samplings.
        refresh: trajectories sampled each time.
        rollout_ratio: roll-outs per example in a batch.
        rollout_temperature: at which they are sampled; other than 1, they are not quite the model's own.
    """

    divergence: str = "chi2_mixture"
    alpha: float = 0.01
    c: float = 0.25
    gamma: float = 0.998
    value_weight: float | None = None
    semi_gradient: bool = False
    levels: Levels = "logits"
    level_warmup_share: float = 0.0
    cloning_share: float = 0.2
    annealing_share: float = 0.2
    final_beta: float = 0.2
    buffer_size: int = 512
    refresh_every: int = 25
    refresh: int = 64
    rollout_ratio: float = 0.5
    rollout_temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.divergence not in DIVERGENCES:
            raise ValueError(f"divergence must be one of {', '.join(DIVERGENCES)}, got {self.divergence!r}")
        for name, high in (("alpha", inf), ("gamma", 1), ("rollout_ratio", inf), ("rollout_temperature", inf)):
            if not 0 < getattr(self, name) <= high:
                raise ValueError(f"{name} must lie in (0, {high}], got {getattr(self, name)}")
        if self.levels not in ("logits", "head"):
            raise ValueError(f"levels must be 'logits' or 'head', got {self.levels!r}")
        if self.level_warmup_share and self.levels != "head":
            raise ValueError("level_warmup_share needs levels = 'head': without a head there is nothing to train alone")
        for name in ("cloning_share", "level_warmup_share", "annealing_share", "final_beta", "value_weight"):
            if getattr(self, name) is not None and not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        if self.cloning_share + self.level_warmup_share > 1:
            raise ValueError("cloning_share and level_warmup_share add up to more than all steps")
        for name in ("buffer_size", "refresh_every", "refresh"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def data_share(self) -> float:
        """Share of the data in the value term."""
        return 0.5 if self.value_weight is None else self.value_weight

    def cloning_steps(self, steps: int) -> int:
        """How many optimiser steps clone only."""
        return round(self.cloning_share * steps)

    def beta(self, step: int, steps: int) -> float:
        """Weight of cloning at an optimiser step."""
        start = self._annealing_starts(steps)
        over = min(round(self.annealing_share * steps), steps - 1 - start)
        progress = (step - start) / over if over > 0 else float(step >= start)
        return 1.0 - (1.0 - self.final_beta) * min(max(progress, 0.0), 1.0)

    def _annealing_starts(self, steps: int) -> int:
        return round((self.cloning_share + self.level_warmup_share) * steps)

    def rollouts(self, optimization: Optimization, steps: int) -> Rollouts:
        """From the replay buffer, once cloning alone is over."""
        return Rollouts(
            batch=max(1, round(self.rollout_ratio * optimization.batch_size)),
            refresh=self.refresh,
            capacity=self.buffer_size,
            refresh_every=self.refresh_every,
            first_step=self.cloning_steps(steps),
            temperature=self.rollout_temperature,
        )

    @contextmanager
    def learner(self, policy: Policy, examples: Dataset, context: Context) -> Iterator[Trainer]:
        """With the level head, if there is one; a text that is cut leaves the value terms to the data."""
        del context
        cut = not all(finished(examples))
        with level_head(policy) if self.levels == "head" else nullcontext():
            yield replace(self, value_weight=1.0) if cut and self.value_weight is None else self

    def loss(self, policy: Policy, batch: Batch) -> Loss:
        """Cloning alone at first, then the annealed mix of cloning and SequenceMatch."""
        if batch.step < self.cloning_steps(batch.steps):
            acts = batch.data.acts
            cloning = negative_log_likelihood(score(policy, batch.data, acts)[0], batch.data)
            return Loss(cloning, int(acts.sum()), {"cloning": float(cloning.detach())})
        head_alone = batch.step < self._annealing_starts(batch.steps)
        scores, data = self._terms(policy, batch.data, head_alone)
        cloning = negative_log_likelihood(scores, batch.data)
        objective = data.match - self.data_share * data.value
        penalty = data.penalty
        log = {"cloning": cloning, "match": data.match, "data_square": data.square, **_named("data", data, 1.0)}
        if batch.rollouts is not None:
            _, own = self._terms(policy, batch.rollouts, head_alone, goes_on=True)
            objective = objective - (1 - self.data_share) * batch.rollout_weight * own.value
            penalty = penalty + batch.rollout_weight * own.penalty
            log |= _named("rollout", own, batch.rollout_weight)
        if DIVERGENCES[self.divergence].penalised:
            objective = objective - self.c * self.alpha / 2 * penalty
        beta = 0.0 if head_alone else self.beta(batch.step, batch.steps)
        log["sequence_match"] = -objective
        return Loss(
            beta * cloning - (1 - beta) * objective,
            int(batch.data.acts.sum()),
            {name: float(each.detach()) for name, each in log.items()},
        )

    def _terms(
        self, policy: Policy, sequences: Sequences, head_alone: bool, goes_on: bool = False
    ) -> tuple[Scores, Terms]:
        """The policy's own scores, and the terms at the levels of the head; ``head_alone`` detaches the policy."""
        where = slots_that_count(sequences)
        with torch.set_grad_enabled(not head_alone):
            scores, hidden = score(policy, sequences, where)
        divergence = DIVERGENCES[self.divergence]
        return scores, terms(
            raised(scores, hidden, where, policy),
            sequences,
            gamma=self.gamma,
            scale=divergence.scale(self.alpha, self.c),
            divergence=divergence,
            bksp=policy.actions.bksp,
            semi_gradient=self.semi_gradient,
            goes_on=goes_on,
        )


def _named(prefix: str, found: Terms, weight: float) -> dict[str, Tensor]:
    """The terms of data or roll-outs, under the names of the learning curve."""
    return {
        f"{prefix}_value": weight * found.value,
        f"{prefix}_penalty": weight * found.penalty,
        f"{prefix}_terminal_penalty": weight * found.terminal_penalty,
        f"{prefix}_loop_penalty": weight * found.loop_penalty,
    }


@dataclass(frozen=True, kw_only=True)
class SequenceMatchBackspace(NoisedTrainer, SequenceMatch):
    """SequenceMatch with ``<bksp>``, on noised trajectories.

    Attributes:
        noise_rollouts: the same noise acts on the model's own trajectories.
    """

    noise_rollouts: bool = False

    @property
    def data_share(self) -> float:
        """Share of the data in the value term; noise on the data alone forbids to mix in roll-outs."""
        unequal = self.noise > 0 and not self.noise_rollouts
        return 1.0 if self.value_weight is None and unequal else super().data_share

    def rollout_noise(self, expert: list[Trajectory], policy: Policy, context: Context) -> Noise | None:
        """That of the data, where it is asked for."""
        return self._noise(expert, policy, context) if self.noise_rollouts else None
