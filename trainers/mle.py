"""Maximum likelihood: the log-probability of the expert's actions, on perfect prefixes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from trainers.base import Loss, Trainer
from trainers.batches import Batch, Sequences

if TYPE_CHECKING:
    from trainers.policy import Policy


def negative_log_likelihood(logits: Tensor, sequences: Sequences) -> Tensor:
    """Sum of ``-log pi(a|s)`` (nats) over the expert's actions; noise is masked out.

    Args:
        logits: shape ``(batch, slots, actions)``, impossible actions at -inf.
        sequences: the trajectories, shape ``(batch, slots)``.
    """
    acts = sequences.acts
    taken = logits[acts].log_softmax(-1).gather(-1, sequences.labels[acts][:, None])
    return -taken.sum()


@dataclass(frozen=True, kw_only=True)
class MaximumLikelihood(Trainer):
    """Maximum likelihood on the examples as they are, without ``<bksp>``."""

    def loss(self, policy: Policy, batch: Batch) -> Loss:
        """Negative log-likelihood of the expert's actions."""
        total = negative_log_likelihood(policy.logits(batch.data), batch.data)
        return Loss(total, int(batch.data.acts.sum()))
