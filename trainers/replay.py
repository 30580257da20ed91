"""The replay buffer: the model's own recent trajectories."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainers.batches import Trajectory
from trainers.decoding import Decoder
from trainers.generation import sample

if TYPE_CHECKING:
    from trainers.base import Context
    from trainers.policy import Policy


class ReplayBuffer:
    """Samples from the current model every so often, and keeps the most recent ones."""

    def __init__(
        self,
        prompts: Sequence[tuple[int, ...]],
        context: Context,
        *,
        first_step: int,
        batch: int,
        capacity: int,
        refresh_every: int,
        refresh: int,
    ) -> None:
        """Make an empty buffer.

        Args:
            prompts: start states, token ids.
            context: bounds of a walk, the ``rollout`` seed, and the clocks.
            first_step: optimiser step from which roll-outs are wanted.
            batch: trajectories returned per optimiser step.
            capacity: trajectories kept; the oldest go first.
            refresh_every: optimiser steps between refreshes.
            refresh: trajectories sampled at a refresh.
        """
        self.prompts, self.context = prompts, context
        self.first_step, self.batch = first_step, batch
        self.refresh_every, self.refresh = refresh_every, refresh
        self.kept: deque[Trajectory] = deque(maxlen=capacity)

    def draw(self, policy: Policy, step: int) -> list[Trajectory]:
        """The trajectories of an optimiser step, after sampling new ones if it is time to."""
        if step < self.first_step:
            return []
        rng = np.random.default_rng([self.context.seeds["rollout"], step])
        if (step - self.first_step) % self.refresh_every == 0:
            self._sample(policy, rng)
        return [self.kept[index] for index in rng.integers(len(self.kept), size=self.batch)]

    def _sample(self, policy: Policy, rng: np.random.Generator) -> None:
        prompts = [self.prompts[index] for index in rng.integers(len(self.prompts), size=self.refresh)]
        samples = sample(
            policy,
            prompts,
            Decoder(),
            int(rng.integers(2**63)),
            max_new_tokens=self.context.max_new_tokens,
            max_actions=self.context.max_actions,
        )
        for prompt, one in zip(prompts, samples, strict=True):
            actions = tuple(one.actions)
            self.kept.append(Trajectory(prompt, actions, one.finish == "eos", (True,) * len(actions)))
        self.context.meter.sample(sum(len(one.actions) for one in samples))
