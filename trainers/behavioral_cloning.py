"""Behavioural cloning: maximum likelihood on noised trajectories in which the expert erases the noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from trainers.mle import MaximumLikelihood
from trainers.noise import NoiseKind, add_noise, noise_tokens

if TYPE_CHECKING:
    from trainers.base import Context
    from trainers.batches import Trajectory
    from trainers.policy import Policy


def noised(
    trajectories: list[Trajectory], rate: float, kind: NoiseKind, policy: Policy, context: Context, step: int
) -> list[Trajectory]:
    """Add noise to the trajectories of one optimiser step; the draws depend on seed and step only."""
    if policy.actions.bksp is None or rate == 0:
        return trajectories
    rng = np.random.default_rng([context.seeds["noise"], step])
    tokens = noise_tokens(policy, kind, context.error_tokens)
    return [add_noise(trajectory, rate, tokens, policy.actions.bksp, rng) for trajectory in trajectories]


@dataclass(frozen=True, kw_only=True)
class BehavioralCloning(MaximumLikelihood):
    """Maximum likelihood with ``<bksp>``.

    Attributes:
        noise: eta, the probability of noise at each visit of a state.
        noise_kind: noise is "uniform" over the vocabulary, or a plausible error of the "task".
    """

    backspace: ClassVar[bool] = True

    noise: float = 0.05
    noise_kind: NoiseKind = "uniform"

    def __post_init__(self) -> None:
        if not 0 <= self.noise < 1:
            raise ValueError(f"noise must lie in [0, 1), got {self.noise}")

    def prepare(self, trajectories: list[Trajectory], policy: Policy, context: Context, step: int) -> list[Trajectory]:
        """Noise the trajectories afresh at every step."""
        return noised(trajectories, self.noise, self.noise_kind, policy, context, step)
