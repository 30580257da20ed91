"""The replay buffer: the model's own recent trajectories."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import numpy as np

from trainers.batches import Trajectory
from trainers.decoding import Decoder
from trainers.generation import sample
from trainers.noise import NoisySteps
from trainers.processes import Processes

if TYPE_CHECKING:
    from trainers.base import Context
    from trainers.noise import Noise
    from trainers.policy import Policy
    from trainers.rollouts import Rollouts


class ReplayBuffer:
    """Samples from the current model every so often, and keeps the most recent ones.

    Processes share the sampling, and all keep the samples of all.
    """

    def __init__(
        self,
        prompts: Sequence[tuple[int, ...]],
        context: Context,
        rollouts: Rollouts,
        noise: Noise | None = None,
    ) -> None:
        """Make an empty buffer.

        Args:
            prompts: start states, token ids.
            context: bounds of a walk, the ``rollout`` seed, and the clocks.
            rollouts: when they are sampled, and how many.
            noise: acts on them as on the data; None: nothing does.
        """
        self.prompts, self.context, self.rollouts = prompts, context, rollouts
        self.decoder, self.noise = Decoder(temperature=rollouts.temperature), noise
        self.kept: deque[Trajectory] = deque(maxlen=rollouts.capacity)

    def draw(self, policy: Policy, step: int) -> list[Trajectory]:
        """The trajectories of an optimiser step, after sampling new ones if it is time to."""
        if not self.rollouts.wanted(step):
            return []
        rng = np.random.default_rng([self.context.seeds["rollout"], step])
        if self.rollouts.due(step):
            self._sample(policy, rng)
        return [self.kept[index] for index in rng.integers(len(self.kept), size=self.rollouts.batch)]

    def state(self) -> list[list[object]]:
        """The trajectories, oldest first, as JSON data."""
        return [list(astuple(trajectory)) for trajectory in self.kept]

    def restore(self, state: Sequence[Sequence[Any]]) -> None:
        """Hold the trajectories of a state."""
        self.kept.clear()
        for prompt, actions, finished, expert in state:
            self.kept.append(Trajectory(tuple(prompt), tuple(actions), finished, tuple(expert)))

    def _sample(self, policy: Policy, rng: np.random.Generator) -> None:
        prompts = [self.prompts[index] for index in rng.integers(len(self.prompts), size=self.rollouts.refresh)]
        shape = (len(prompts), self.context.max_actions)
        forced = np.zeros(shape, np.bool_) if self.noise is None else self.noise.steps(*shape, rng)
        seed, processes = int(rng.integers(2**63)), Processes.present()
        mine = processes.own(range(len(prompts)))
        samples = sample(
            policy,
            [prompts[index] for index in mine],
            self.decoder,
            seed,
            max_new_tokens=self.context.max_new_tokens,
            max_actions=self.context.max_actions,
            noise=None if self.noise is None else NoisySteps(self.noise, forced[mine]),
            streams=mine,
        )
        walks = dict(pair for pairs in processes.gathered(list(zip(mine, samples, strict=True))) for pair in pairs)
        for index, (prompt, noisy) in enumerate(zip(prompts, forced.tolist(), strict=True)):
            one = walks[index]
            own = tuple(not each for each in noisy[: len(one.actions)])
            self.kept.append(Trajectory(prompt, tuple(one.actions), one.finish == "eos", own))
        self.context.meter.sample(sum(len(one.actions) for one in walks.values()))
