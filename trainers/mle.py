"""Maximum likelihood: the log-probability of the expert's actions, on perfect prefixes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from trainers.base import Loss, Trainer
from trainers.batches import Batch, Sequences
from trainers.scores import Scores, score

if TYPE_CHECKING:
    from trainers.policy import Policy


def negative_log_likelihood(scores: Scores, sequences: Sequences) -> Tensor:
    """Sum of ``-log pi(a|s)`` (nats) over the expert's actions; noise is masked out.

    Args:
        scores: at least at the expert's actions, shape ``(batch, slots)``.
        sequences: the trajectories, shape ``(batch, slots)``.
    """
    return -scores.log_probability[sequences.acts].sum()


@dataclass(frozen=True, kw_only=True)
class MaximumLikelihood(Trainer):
    """Maximum likelihood on the examples as they are, without ``<bksp>``."""

    def loss(self, policy: Policy, batch: Batch) -> Loss:
        """Negative log-likelihood of the expert's actions."""
        acts = batch.data.acts
        scores, _ = score(policy, batch.data, acts)
        return Loss(negative_log_likelihood(scores, batch.data), int(acts.sum()))
