"""Trainers with ``<bksp>`` whose data are noised, for the expert to take back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from trainers.base import Trainer
from trainers.noise import Noise, NoiseKind, add_noise, check_noise, noise_of

if TYPE_CHECKING:
    from trainers.base import Context, Preparation
    from trainers.batches import Trajectory
    from trainers.policy import Policy


@dataclass(frozen=True, kw_only=True)
class NoisedTrainer(Trainer):
    """What to inherit from before the trainer with the loss; noise is drawn afresh at every optimiser step.

    Attributes:
        noise: eta, the probability of noise at each visit of a state.
        noise_kind: noise is "uniform" over the vocabulary, as frequent as in the data ("unigram"), a plausible
            error of the "task", or drawn from the current "policy".
    """

    backspace: ClassVar[bool] = True

    noise: float = 0.05
    noise_kind: NoiseKind = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_noise(self.noise, self.noise_kind)

    def prepare(self, expert: list[Trajectory], policy: Policy, context: Context) -> Preparation:
        """Noise what the trainer would train on; the draws depend on the ``noise`` seed and the step."""
        plain, noise = super().prepare(expert, policy, context), self._noise(expert, policy, context)

        def prepare(trajectories: list[Trajectory], step: int) -> list[Trajectory]:
            chosen = plain(trajectories, step)
            if noise.of_policy:
                context.meter.read(sum(map(len, chosen)))
            return add_noise(chosen, noise, policy, np.random.default_rng([context.seeds["noise"], step]))

        return prepare

    def _noise(self, expert: list[Trajectory], policy: Policy, context: Context) -> Noise:
        return noise_of(self.noise, self.noise_kind, expert, policy, context)
