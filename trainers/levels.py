"""A level head: it gives V(s) a freedom that the policy does not feel.

Likelihood leaves the levels V(s) of a model free, the quadratic term of SequenceMatch does not: where model and
data agree, V has to follow the log-likelihood of the prefix. An output layer can hardly add one number to all logits
of a position without bending the policy, so the quickest way down is to flatten it. A scalar head on the last hidden
state that is added to all logits of its position does it: the softmax, and so everything that is sampled, is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from trainers.policy import Policy
    from trainers.scores import Scores

Levels = Literal["logits", "head"]

_NAME = "level_head"


class LevelHead(nn.Module):
    """An affine function of the last hidden state, zero at first."""

    def __init__(self, width: int) -> None:
        """Make a head for hidden states of some width."""
        super().__init__()
        self.affine = nn.Linear(width, 1)
        nn.init.zeros_(self.affine.weight)
        nn.init.zeros_(self.affine.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Levels, shape ``(n,)``, in logit units, of hidden states ``(n, width)``."""
        level: Tensor = self.affine(hidden.to(self.affine.weight.dtype))[:, 0]
        return level


@contextmanager
def level_head(policy: Policy) -> Iterator[LevelHead]:
    """Make a head part of the model while it is trained, so that the loop optimises it like any other layer.

    Nothing is drawn, so global random state stays as it is, and the model leaves without the head.
    """
    with torch.random.fork_rng():
        head = LevelHead(policy.model.get_output_embeddings().weight.shape[1]).to(policy.device)
    policy.model.add_module(_NAME, head)
    try:
        yield head
    finally:
        delattr(policy.model, _NAME)


def raised(scores: Scores, hidden: Tensor, where: Tensor, policy: Policy) -> Scores:
    """Add the levels of the policy's head to the scores of the slots that count; without a head, change nothing.

    Args:
        scores: shape ``(batch, slots)``.
        hidden: last hidden states of the slots that count, shape ``(n, width)``.
        where: bool, shape ``(batch, slots)``: those slots.
        policy: its model may have a head.
    """
    head = getattr(policy.model, _NAME, None)
    if head is None:
        return scores
    return scores.raised(torch.zeros_like(scores.v).masked_scatter(where, head(hidden).to(scores.v.dtype)))
