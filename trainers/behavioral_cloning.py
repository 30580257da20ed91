"""Behavioural cloning: maximum likelihood on noised trajectories in which the expert erases the noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from trainers.mle import MaximumLikelihood
from trainers.noise import NoiseKind, add_noise, check_noise, noise_of

if TYPE_CHECKING:
    from trainers.base import Context, Preparation
    from trainers.batches import Trajectory
    from trainers.policy import Policy


def noising(rate: float, kind: NoiseKind, expert: list[Trajectory], policy: Policy, context: Context) -> Preparation:
    """Noise the trajectories afresh at every optimiser step; the draws depend on the ``noise`` seed and the step."""
    noise = noise_of(rate, kind, expert, policy, context)

    def prepare(trajectories: list[Trajectory], step: int) -> list[Trajectory]:
        if noise.of_policy:
            context.meter.read(sum(map(len, trajectories)))
        return add_noise(trajectories, noise, policy, np.random.default_rng([context.seeds["noise"], step]))

    return prepare


@dataclass(frozen=True, kw_only=True)
class BehavioralCloning(MaximumLikelihood):
    """Maximum likelihood with ``<bksp>``.

    Attributes:
        noise: eta, the probability of noise at each visit of a state.
        noise_kind: noise is "uniform" over the vocabulary, as frequent as in the data ("unigram"), a plausible
            error of the "task", or drawn from the current "policy".
    """

    backspace: ClassVar[bool] = True

    noise: float = 0.05
    noise_kind: NoiseKind = "uniform"

    def __post_init__(self) -> None:
        check_noise(self.noise, self.noise_kind)

    def prepare(self, expert: list[Trajectory], policy: Policy, context: Context) -> Preparation:
        """Noise the trajectories."""
        return noising(self.noise, self.noise_kind, expert, policy, context)
