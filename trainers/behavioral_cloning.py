"""Behavioural cloning: maximum likelihood on noised trajectories in which the expert erases the noise."""

from __future__ import annotations

from dataclasses import dataclass

from trainers.mle import MaximumLikelihood
from trainers.noised import NoisedTrainer


@dataclass(frozen=True, kw_only=True)
class BehavioralCloning(NoisedTrainer, MaximumLikelihood):
    """Maximum likelihood with ``<bksp>``."""
