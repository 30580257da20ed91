"""When a trainer wants the policy's own trajectories, and how many of them."""

from __future__ import annotations

from dataclasses import dataclass


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
        for name in ("batch", "refresh", "capacity", "refresh_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def wanted(self, step: int) -> bool:
        """Whether an optimiser step learns from them."""
        return step >= self.first_step

    def due(self, step: int) -> bool:
        """Whether new ones are sampled at an optimiser step."""
        return self.wanted(step) and (step - self.first_step) % self.refresh_every == 0
