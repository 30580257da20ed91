"""Noise on trajectories: a wrong token, then ``<bksp>``.

At each visit of a state the environment writes a random token with probability eta instead of letting the
expert act; the expert answers with ``<bksp>`` and is back where it was. With tokens drawn from u, the
Bayes-optimal probability of erasing a token t just written after s is then
``eta u(t) / (eta u(t) + (1 - eta) p(t|s))``: uniform noise teaches a soft truncation of improbable tokens, noise
drawn from the policy pi the density ratio p / pi.

A kind of noise is its distribution u, a function of the logits of the state; drawing tokens and writing them into
trajectories is the same for all kinds and all trainers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainers.batches import Trajectory, collate
from trainers.modes import evaluation_mode
from trainers.scores import logits_at

if TYPE_CHECKING:
    from trainers.base import Context
    from trainers.policy import Policy

NoiseKind = Literal["uniform", "unigram", "task", "policy"]
NOISE_KINDS: tuple[NoiseKind, ...] = ("uniform", "unigram", "task", "policy")


def check_noise(rate: float, kind: str) -> None:
    """Refuse impossible settings.

    Raises:
        ValueError: naming the setting.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"noise must lie in [0, 1), got {rate}")
    if kind not in NOISE_KINDS:
        raise ValueError(f"noise_kind must be one of {', '.join(NOISE_KINDS)}, got {kind!r}")


@dataclass(frozen=True, eq=False)
class Noise:
    """What the environment writes, and how often.

    Attributes:
        rate: eta, probability of noise at each visit of a state, in [0, 1).
        weights: shape ``(actions,)``, float64, sums to 1: u, where it is the same at every state; for noise from the
            policy, what the policy's probabilities are multiplied with before they are normalised.
        of_policy: u follows the policy.
    """

    rate: float
    weights: Tensor
    of_policy: bool = False

    def probabilities(self, logits: Tensor) -> Tensor:
        """The distribution u at some states: float64, shape ``(n, actions)``, from their logits of the same shape."""
        weights = self.weights.to(logits.device)
        return (logits.double() + weights.log()).softmax(-1) if self.of_policy else weights.expand_as(logits)

    def steps(self, walks: int, actions: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """At which steps of some walks the environment writes: shape ``(walks, actions)``.

        As on the data, the environment never answers its own token.
        """
        found = rng.random((walks, actions)) < self.rate
        for step in range(1, actions):
            found[:, step] &= ~found[:, step - 1]
        return found

    def counts(self, states: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """How many tokens are written, and erased again, before the expert acts at each of some states."""
        return rng.geometric(1 - self.rate, size=states) - 1

    def tokens(
        self, trajectories: Sequence[Trajectory], counts: Sequence[NDArray[np.int64]], policy: Policy, uniforms: Tensor
    ) -> list[int]:
        """Draw the tokens for the states of some trajectories, in their order.

        Args:
            trajectories: without backspace.
            counts: per trajectory and action, how many tokens the state needs.
            policy: the current model; asked only where u follows it.
            uniforms: in [0, 1), one per token.
        """
        if len(uniforms) == 0:
            return []
        if not self.of_policy:
            return _inverse_cdf(self.weights, uniforms)
        logits, repeats = _logits(trajectories, counts, policy)
        return _inverse_cdf(self.probabilities(logits).cpu().repeat_interleave(repeats, 0), uniforms[:, None])


@dataclass(frozen=True, eq=False)
class NoisySteps:
    """Noise on the model's own walks.

    Attributes:
        noise: what is written.
        where: bool, shape ``(walks, actions)``: the steps at which the environment acts (``Noise.steps``).
    """

    noise: Noise
    where: NDArray[np.bool_]

    def override(self, warped: Tensor, logits: Tensor, walks: NDArray[np.int64], steps: NDArray[np.int64]) -> Tensor:
        """Put log u in place of the decoder's logits where the environment acts.

        Args:
            warped: the decoder's logits, shape ``(n, actions)``.
            logits: the policy's, of the same shape.
            walks: which walk each row belongs to, shape ``(n,)``.
            steps: how many actions it has taken, shape ``(n,)``.
        """
        acts = torch.from_numpy(self.where[walks, steps]).to(warped.device)
        if not acts.any():
            return warped
        return torch.where(acts[:, None], self.noise.probabilities(logits).log().to(warped.dtype), warped)


def _inverse_cdf(probabilities: Tensor, uniforms: Tensor) -> list[int]:
    cumulative = probabilities.cumsum(-1)
    cumulative = cumulative / cumulative[..., -1:]
    drawn: list[int] = torch.searchsorted(cumulative, uniforms, right=True).flatten().tolist()
    return drawn


@torch.no_grad()
def _logits(
    trajectories: Sequence[Trajectory], counts: Sequence[NDArray[np.int64]], policy: Policy
) -> tuple[Tensor, Tensor]:
    """Logits of the states that get tokens, in order, and how many each gets; one forward pass without dropout."""
    sequences = collate(trajectories, None)
    repeats = torch.zeros_like(sequences.labels)
    for row, (trajectory, many) in enumerate(zip(trajectories, counts, strict=True)):
        first = len(trajectory.prompt) - 1
        repeats[row, first : first + len(many)] = torch.from_numpy(many)
    sequences = sequences.to(policy.device)
    with evaluation_mode(policy.model):
        logits, _ = logits_at(policy, sequences, (repeats > 0).to(policy.device))
    return logits, repeats[repeats > 0]


def noise_of(rate: float, kind: NoiseKind, expert: Sequence[Trajectory], policy: Policy, context: Context) -> Noise:
    """Build the noise of one training run.

    Args:
        rate: eta.
        kind: ``uniform`` over all tokens that can be appended; ``unigram``: as frequent as in the completions of the
            training data; ``task``: uniform over those the task names; ``policy``: as the current model would.
        expert: the training data.
        policy: has the action space and the tokenizer.
        context: names the task's plausible errors.

    Raises:
        ValueError: if there is nothing to draw from, or an error of the task is not a single token.
    """
    appendable = torch.zeros(policy.actions.size, dtype=torch.float64)
    appendable[list(policy.actions.appendable)] = 1
    if kind == "task":
        weights = torch.zeros_like(appendable)
        weights[list(_error_tokens(policy, context.error_tokens))] = 1
    elif kind == "unigram":
        written = torch.tensor([action for trajectory in expert for action in trajectory.actions], dtype=torch.long)
        weights = appendable * torch.bincount(written, minlength=len(appendable))
        if not weights.any():
            raise ValueError("noise of kind 'unigram' needs training data with at least one token")
    else:
        weights = appendable
    return Noise(rate, weights / weights.sum(), of_policy=kind == "policy")


def _error_tokens(policy: Policy, error_tokens: Sequence[str]) -> tuple[int, ...]:
    if not error_tokens:
        raise ValueError("noise of kind 'task' needs a task that names plausible errors; use 'uniform'")
    encoded = {text: policy.encode(text) for text in error_tokens}
    for text, ids in encoded.items():
        if len(ids) != 1:
            raise ValueError(f"noise of kind 'task': {text!r} is {len(ids)} tokens of this tokenizer, not one")
    return tuple(ids[0] for ids in encoded.values())


def add_noise(
    trajectories: Sequence[Trajectory], noise: Noise, policy: Policy, rng: np.random.Generator
) -> list[Trajectory]:
    """Insert noise tokens, each followed by ``<bksp>``.

    Args:
        trajectories: actions of the expert, without backspace.
        noise: what is written, and how often.
        policy: has ``<bksp>``; the current model where noise follows it.
        rng: source of all draws.

    Returns:
        The noised trajectories; noise tokens are marked as not the expert's.
    """
    bksp = policy.actions.bksp
    if bksp is None or noise.rate == 0:
        return list(trajectories)
    counts = [noise.counts(len(trajectory.actions), rng) for trajectory in trajectories]
    uniforms = torch.from_numpy(rng.random(sum(int(many.sum()) for many in counts)))
    drawn = iter(noise.tokens(trajectories, counts, policy, uniforms))
    noised = []
    for trajectory, many in zip(trajectories, counts, strict=True):
        actions: list[int] = []
        expert: list[bool] = []
        for action, count in zip(trajectory.actions, many.tolist(), strict=True):
            for _ in range(count):
                actions += [next(drawn), bksp]
                expert += [False, True]
            actions.append(action)
            expert.append(True)
        noised.append(Trajectory(trajectory.prompt, tuple(actions), trajectory.finished, tuple(expert)))
    return noised
