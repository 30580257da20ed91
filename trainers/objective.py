"""The SequenceMatch objective over laid-out trajectories (Cundy & Ermon 2023, arXiv 2306.05426).

Logits are soft Q-values: ``Q(s, a) = logit(a|s)``, ``V(s) = logsumexp_a logit(a|s)``, and the implied
reward is ``x = Q(s, a) - gamma V(s')``. The objective is maximised::

    J = E_data[phi(alpha x) / alpha] - E_rho[V(s) - gamma V(s')] - (c alpha / 2) (E_data[x^2] + E_model[x^2])

where ``rho`` mixes data and roll-outs (any occupancy with the same start states would do: the difference
telescopes) and the last term belongs to the chi^2 divergence to the mixture only. Expectations are sums
over steps weighted ``gamma^i``, terminal states included: after the end of the text there is one forced
action, so Q = V there, ``x = (1 - gamma) V``, and the weight of the rest of time is
``gamma^N / (1 - gamma)``. A trajectory that was cut has no terminal part. Where the model was stopped, it would have
gone on, and the value terms of any continuation add up to ``gamma^N V(s_N)``. The data go on nowhere: where their texts
are cut, the value terms run over the data alone, and what is left of a step is its likelihood.

Noise steps are the environment's, not the expert's: they contribute nothing. Where there is noise on the data
alone, the value terms run over the data alone (``value_weight = 1``), else they would raise V at exactly the
erroneous states; the same noise on the roll-outs allows to mix again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.batches import Sequences
from trainers.divergences import Divergence
from trainers.scores import Scores


@dataclass(frozen=True)
class Terms:
    """Sums over one set of trajectories, in logit units; each a scalar tensor.

    Attributes:
        match: ``phi(scale x) / scale``, where the scale is alpha, or ``c alpha`` for the exact mixture.
        value: ``V(s) - gamma V(s')``.
        penalty: ``x^2``.
        terminal_penalty: the part of ``penalty`` that comes from terminal states.
        loop_penalty: the part that comes from erasing; the two couple levels that are free elsewhere.
        square: ``x^2`` without discount, over steps alone.
    """

    match: Tensor
    value: Tensor
    penalty: Tensor
    terminal_penalty: Tensor
    loop_penalty: Tensor
    square: Tensor


def slots_that_count(sequences: Sequences) -> Tensor:
    """Bool, shape ``(batch, slots)``: the expert acts here, or just has, or the text is over."""
    return sequences.acts | _successors(sequences) | sequences.terminal


def _successors(sequences: Sequences) -> Tensor:
    return torch.nn.functional.pad(sequences.acts[:, :-1], (1, 0))


def _cut_after_an_act(sequences: Sequences) -> Tensor:
    last = sequences.real & ~torch.nn.functional.pad(sequences.real[:, 1:], (0, 1))
    return last & _successors(sequences) & ~sequences.terminal


def terms(
    scores: Scores,
    sequences: Sequences,
    *,
    gamma: float,
    scale: float,
    divergence: Divergence,
    bksp: int | None = None,
    semi_gradient: bool = False,
    goes_on: bool = False,
) -> Terms:
    """Discounted sums of the objective's terms over the expert's steps and the terminal states.

    Args:
        scores: at least at the slots that count, shape ``(batch, slots)``.
        sequences: the trajectories.
        gamma: discount.
        scale: takes logit units to the argument of phi (``Divergence.scale``).
        divergence: supplies phi.
        bksp: the action that erases, where there is one.
        semi_gradient: V(s') is a constant to the gradient.
        goes_on: where a trajectory was cut, ``value`` has the value terms of what would follow.
    """
    acts, ends = sequences.acts, sequences.terminal
    v = torch.where(ends, scores.q, scores.v)
    v_next = torch.nn.functional.pad((v.detach() if semi_gradient else v)[:, 1:], (0, 1))
    reward, v_before, v_after = (scores.q - gamma * v_next)[acts], v[acts], v_next[acts]
    discount = gamma ** sequences.step.to(v.dtype)
    stops = _cut_after_an_act(sequences) if goes_on else torch.zeros_like(ends)
    rest_value = (discount[stops] * v[stops]).sum()
    end_value, end_discount, discount = v[ends], discount[ends], discount[acts]
    match = (discount * divergence.phi(scale * reward)).sum() / scale
    value = (discount * (v_before - gamma * v_after)).sum() + (end_discount * end_value).sum() + rest_value
    square = reward.square()
    terminal_penalty = square.new_zeros(())
    if gamma < 1:
        end_reward = (1 - gamma) * end_value
        rest = end_discount / (1 - gamma)
        match = match + (rest * divergence.phi(scale * end_reward)).sum() / scale
        terminal_penalty = (rest * end_reward.square()).sum()
    else:
        match = match + end_value.sum()
    penalty = discount * square
    erases = torch.zeros_like(penalty) if bksp is None else (sequences.labels[acts] == bksp).to(penalty.dtype)
    return Terms(
        match=match,
        value=value,
        penalty=penalty.sum() + terminal_penalty,
        terminal_penalty=terminal_penalty,
        loop_penalty=(penalty * erases).sum(),
        square=square.sum(),
    )
