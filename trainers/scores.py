"""Logits of the actions taken, and their log-sum-exp, at the slots that count and without a copy of all logits.

Every loss here is a function of ``Q(s, a)`` of a few actions and ``V(s) = logsumexp_a Q(s, a)``. So the output layer
runs on the slots that count only, and one autograd function yields both: it keeps the logits and nothing else of
their size, where log-softmax and cross-entropy keep a second tensor and make a third on the way back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainers.actions import ActionSpace
from trainers.backspace import IGNORE
from trainers.batches import Sequences

if TYPE_CHECKING:
    from trainers.policy import Policy


@dataclass(frozen=True)
class Scores:
    """What losses see of the logits; shape ``(batch, slots)`` each, 0 at slots that were not asked for.

    Attributes:
        q: logit of the action taken; of the end of the text where none is.
        v: log-sum-exp of the logits of the possible actions.
    """

    q: Tensor
    v: Tensor

    @property
    def log_probability(self) -> Tensor:
        """``log pi(a|s)`` (nats) of the action taken."""
        return self.q - self.v

    def raised(self, level: Tensor) -> Scores:
        """The scores after ``level``, shape ``(batch, slots)``, is added to all logits of its slot."""
        return Scores(self.q + level, self.v + level)


def score(policy: Policy, sequences: Sequences, where: Tensor) -> tuple[Scores, Tensor]:
    """Run the policy and read its scores.

    Args:
        policy: any causal model.
        sequences: laid-out trajectories on its device, shape ``(batch, slots)``.
        where: bool, shape ``(batch, slots)``: the slots that count.

    Returns:
        The scores, and the last hidden state at the slots that count, shape ``(n, width)``.
    """
    logits, hidden = logits_at(policy, sequences, where)
    return scores_of(logits, sequences, where, policy.actions), hidden


def scores_of(logits: Tensor, sequences: Sequences, where: Tensor, space: ActionSpace) -> Scores:
    """Read the scores off unmasked logits, shape ``(n, actions)``, of the ``n`` slots that count."""
    labels = sequences.labels[where]
    choices = torch.where(labels == IGNORE, space.eos, labels)[:, None]
    q, v = choice_scores(logits, choices, sequences.at_root[where], space)
    blank = torch.zeros(where.shape, dtype=v.dtype, device=v.device)
    return Scores(blank.masked_scatter(where, q[:, 0]), blank.masked_scatter(where, v))


def choice_scores(logits: Tensor, choices: Tensor, at_root: Tensor, space: ActionSpace) -> tuple[Tensor, Tensor]:
    """Logits of chosen actions and the log-sum-exp over all possible ones.

    Args:
        logits: unmasked, shape ``(n, actions)``.
        choices: action ids, shape ``(n, k)``.
        at_root: bool, shape ``(n,)``, as in ``ActionSpace.mask``.
        space: says which actions are possible.

    Returns:
        Shapes ``(n, k)`` (-inf where the action is impossible) and ``(n,)``, in float32 or better.
    """
    return _choice_scores(logits, choices, at_root, space)


def logits_at(policy: Policy, sequences: Sequences, where: Tensor) -> tuple[Tensor, Tensor]:
    """Unmasked logits ``(n, actions)`` and last hidden states ``(n, width)`` of the slots that count.

    Raises:
        TypeError: if the model does not call its output layer as a module.
    """
    seen: list[Tensor] = []

    def select(layer: object, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        del layer
        seen.append(inputs[0][where])
        return (seen[-1],)

    handle = policy.model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        logits: Tensor = policy.model(**sequences.inputs(policy.model.dtype), use_cache=False).logits
    finally:
        handle.remove()
    if not seen:
        raise TypeError(f"{type(policy.model).__name__} does not call the module get_output_embeddings() names")
    return logits, seen[-1]


class _ChoiceScores(torch.autograd.Function):
    """``dv/dlogits`` is the softmax, which the way back computes again from logits and ``v``."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, choices: Tensor, at_root: Tensor, space: ActionSpace
    ) -> tuple[Tensor, Tensor]:
        masked = _masked(logits, at_root, space)
        q = masked.gather(-1, choices)
        top = masked.amax(-1)
        v = masked.sub_(top[:, None]).exp_().sum(-1).log_().add_(top)
        ctx.save_for_backward(logits, choices, at_root, v)
        ctx.space = space
        return q, v

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_q: Tensor, grad_v: Tensor) -> tuple[Tensor, None, None, None]:
        logits, choices, at_root, v = ctx.saved_tensors
        grad = _masked(logits, at_root, ctx.space).sub_(v[:, None]).exp_().mul_(grad_v[:, None])
        grad.scatter_add_(-1, choices, grad_q)
        return grad.to(logits.dtype), None, None, None


_choice_scores: Callable[[Tensor, Tensor, Tensor, ActionSpace], tuple[Tensor, Tensor]] = _ChoiceScores.apply


def _masked(logits: Tensor, at_root: Tensor, space: ActionSpace) -> Tensor:
    return space.mask(logits.to(torch.promote_types(logits.dtype, torch.float32)), at_root)
