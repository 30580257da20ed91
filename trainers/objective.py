"""The SequenceMatch objective over laid-out trajectories (Cundy & Ermon 2023, arXiv 2306.05426).

Logits are soft Q-values: ``Q(s, a) = logit(a|s)``, ``V(s) = logsumexp_a logit(a|s)``, and the implied
reward is ``x = Q(s, a) - gamma V(s')``. The objective is maximised::

    J = E_data[phi(alpha x) / alpha] - E_rho[V(s) - gamma V(s')] - (c alpha / 2) (E_data[x^2] + E_model[x^2])

where ``rho`` mixes data and roll-outs (any occupancy with the same start states would do: the difference
telescopes) and the last term belongs to the chi^2 divergence to the mixture only. Expectations are sums
over steps weighted ``gamma^i``, terminal states included: after the end of the text there is one forced
action, so Q = V there, ``x = (1 - gamma) V``, and the weight of the rest of time is
``gamma^N / (1 - gamma)``. A trajectory that was cut has no terminal part.

Noise steps are the environment's, not the expert's: they contribute nothing, and where there are any the
value terms run over the data alone (``value_weight = 1``), else they would raise V at exactly the
erroneous states.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.batches import Sequences
from trainers.divergences import Divergence


@dataclass(frozen=True)
class SoftValues:
    """Q of the actions taken, V of the states, and the implied rewards; each of shape ``(batch, slots)``."""

    q: Tensor
    v: Tensor
    v_next: Tensor
    reward: Tensor


@dataclass(frozen=True)
class Terms:
    """Sums over one set of trajectories, in logit units; each a scalar tensor.

    Attributes:
        match: ``phi(scale x) / scale``, where the scale is alpha, or ``c alpha`` for the exact mixture.
        value: ``V(s) - gamma V(s')``.
        penalty: ``x^2``.
    """

    match: Tensor
    value: Tensor
    penalty: Tensor


def soft_values(logits: Tensor, sequences: Sequences, gamma: float, eos: int) -> SoftValues:
    """Read masked logits as soft Q-values.

    Args:
        logits: shape ``(batch, slots, actions)``, impossible actions at -inf.
        sequences: the trajectories, shape ``(batch, slots)``.
        gamma: discount.
        eos: the forced action of the terminal state; its logit is the value there.
    """
    v = torch.where(sequences.terminal, logits[..., eos], logits.logsumexp(-1))
    q = logits.gather(-1, sequences.labels.clamp(min=0)[..., None])[..., 0]
    v_next = torch.cat([v[:, 1:], torch.zeros_like(v[:, :1])], 1)
    return SoftValues(q, v, v_next, q - gamma * v_next)


def terms(values: SoftValues, sequences: Sequences, *, gamma: float, scale: float, divergence: Divergence) -> Terms:
    """Discounted sums of the objective's three terms over the expert's steps and the terminal states.

    Args:
        values: of the trajectories.
        sequences: the trajectories.
        gamma: discount.
        scale: takes logit units to the argument of phi (``Divergence.scale``).
        divergence: supplies phi.
    """
    discount = gamma ** sequences.step.to(values.v.dtype)
    acts, ends = sequences.acts, sequences.terminal
    reward = values.reward[acts]
    end_value, end_discount = values.v[ends], discount[ends]
    match = (discount[acts] * divergence.phi(scale * reward)).sum() / scale
    value = (discount[acts] * (values.v - gamma * values.v_next)[acts]).sum() + (end_discount * end_value).sum()
    penalty = (discount[acts] * reward.square()).sum()
    if gamma < 1:
        end_reward = (1 - gamma) * end_value
        rest = end_discount / (1 - gamma)
        match = match + (rest * divergence.phi(scale * end_reward)).sum() / scale
        penalty = penalty + (rest * end_reward.square()).sum()
    else:
        match = match + end_value.sum()
    return Terms(match, value, penalty)
