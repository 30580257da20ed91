"""Token-level unlikelihood: maximum likelihood that also lowers the probability of repeating the context."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainers.base import Loss, Trainer
from trainers.scores import choice_scores, logits_at

if TYPE_CHECKING:
    from trainers.actions import ActionSpace
    from trainers.batches import Batch, Sequences
    from trainers.policy import Policy

LEAST_GAP = 1e-5
"""Below this ``-log p`` a candidate's loss is constant: float32 cannot tell its probability from 1."""


def negative_candidates(sequences: Sequences, space: ActionSpace) -> Tensor:
    """Which context tokens the model is told not to write, for every action of trajectories without backspace.

    The candidates are the distinct tokens of the context, prompt included, but for the token that does come next
    (Welleck et al. 2019, arXiv 1908.04319, equation 5) and for what is no token of the text (the start of the
    prompt, where that is the end token of an earlier text, say).

    Returns:
        Bool, shape ``(n, slots)`` for the ``n`` expert actions in order: the input of slot j is a candidate.
    """
    ids, slots = sequences.input_ids, sequences.input_ids.shape[1]
    earlier = torch.ones(slots, slots, dtype=torch.bool, device=ids.device).tril(-1)
    repeated = ((ids[:, :, None] == ids[:, None, :]) & earlier).any(-1)
    text = torch.zeros(space.size, dtype=torch.bool, device=ids.device)
    text[list(space.appendable)] = True
    rows, at = sequences.acts.nonzero(as_tuple=True)
    context = torch.arange(slots, device=ids.device)[None, :] <= at[:, None]
    wrong = ids[rows] != sequences.labels[rows, at][:, None]
    return context & wrong & (text[ids] & ~repeated)[rows]


def log1mexp(gap: Tensor) -> Tensor:
    """``log(1 - exp(-gap))`` for a positive gap, without cancellation (Mächler 2012)."""
    near = gap < math.log(2)
    small, large = torch.where(near, gap, 1.0), torch.where(near, 1.0, gap)
    return torch.where(near, torch.log(-torch.expm1(-small)), torch.log1p(-torch.exp(-large)))


@dataclass(frozen=True, kw_only=True)
class Unlikelihood(Trainer):
    """Maximum likelihood plus token-level unlikelihood (Welleck et al. 2019, arXiv 1908.04319).

    Attributes:
        alpha: weight of the unlikelihood term.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.alpha < math.inf:
            raise ValueError(f"alpha must lie in [0, inf), got {self.alpha}")

    def loss(self, policy: Policy, batch: Batch) -> Loss:
        """``-log p(x_t|x_<t) - alpha sum_c log(1 - p(c|x_<t))`` over the candidates c (equation 4)."""
        data, space = batch.data, policy.actions
        acts = data.acts
        candidates = negative_candidates(data, space)
        targets = data.labels[acts][:, None]
        context = torch.where(candidates, data.input_ids[acts.nonzero()[:, 0]], space.eos)
        logits, _ = logits_at(policy, data, acts)
        q, v = choice_scores(logits, torch.cat([targets, context], 1), data.at_root[acts], space)
        likelihood = (q[:, 0] - v).sum()
        gaps = (v[:, None] - q[:, 1:])[candidates].clamp(min=LEAST_GAP)
        unlikelihood = log1mexp(gaps).sum()
        total = -likelihood - self.alpha * unlikelihood
        log = {"likelihood": -float(likelihood.detach()), "unlikelihood": -float(unlikelihood.detach())}
        return Loss(total, len(targets), log)
