"""When a trainer wants the policy's own trajectories, and how many of them."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """The policy's own trajectories in training: sampled every so often, and drawn from the most recent ones.

    Attributes:
        batch: trajectories beside the data of an optimiser step.
        refresh: trajectories sampled each time.
        capacity: trajectories kept; the oldest go first.
        refresh_every: optimiser steps between samplings.
        first_step: optimiser step from which they are wanted.
        temperature: at which they are sampled.
    """

    batch: int
    refresh: int
    capacity: int
    refresh_every: int = 1
    first_step: int = 0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (("batch", 1), ("refresh", 1), ("capacity", 1), ("refresh_every", 1), ("first_step", 0)):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= least):
                raise ValueError(f"roll-outs: {name} must be a whole number, at least {least}, got {value!r}")
        if not 0 < self.temperature < inf:
            raise ValueError(f"roll-outs: temperature must lie in (0, inf), got {self.temperature!r}")

    def wanted(self, step: int) -> bool:
        """Whether an optimiser step learns from them."""
        return step >= self.first_step

    def due(self, step: int) -> bool:
        """Whether new ones are sampled at an optimiser step."""
        return self.wanted(step) and (step - self.first_step) % self.refresh_every == 0
