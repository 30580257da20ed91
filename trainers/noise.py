"""Noise on expert trajectories: a wrong token, then ``<bksp>``.

At each visit of a state the environment writes a random token with probability eta instead of letting the
expert act; the expert answers with ``<bksp>`` and is back where it was. With tokens drawn from u, the
Bayes-optimal probability of erasing a token t just written after s is then
``eta u(t) / (eta u(t) + (1 - eta) p(t|s))``: uniform noise teaches a soft truncation of improbable tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from trainers.batches import Trajectory

if TYPE_CHECKING:
    from trainers.policy import Policy

NoiseKind = Literal["uniform", "task"]


def noise_tokens(policy: Policy, kind: NoiseKind, error_tokens: Sequence[str]) -> tuple[int, ...]:
    """The tokens that noise of a kind may write.

    Args:
        policy: has the action space and the tokenizer.
        kind: ``uniform`` over all tokens that can be appended, or over those the ``task`` names.
        error_tokens: strings that make plausible mistakes; each must be one token.

    Raises:
        ValueError: if the task names no tokens, or one that is not a single token.
    """
    if kind == "uniform":
        return policy.actions.appendable
    if not error_tokens:
        raise ValueError("noise of kind 'task' needs a task that names plausible errors; use 'uniform'")
    encoded = {text: policy.encode(text) for text in error_tokens}
    for text, ids in encoded.items():
        if len(ids) != 1:
            raise ValueError(f"noise of kind 'task': {text!r} is {len(ids)} tokens of this tokenizer, not one")
    return tuple(ids[0] for ids in encoded.values())


def add_noise(
    trajectory: Trajectory, rate: float, tokens: Sequence[int], bksp: int, rng: np.random.Generator
) -> Trajectory:
    """Insert noise tokens, each followed by ``<bksp>``.

    Args:
        trajectory: actions of the expert, without backspace.
        rate: eta, probability of noise at each visit of a state, in [0, 1).
        tokens: noise is uniform over these.
        bksp: the id that erases.
        rng: source of all draws.

    Returns:
        The noised trajectory; noise tokens are marked as not the expert's.
    """
    counts = rng.geometric(1 - rate, size=len(trajectory.actions)) - 1
    drawn = iter(rng.choice(tokens, size=int(counts.sum())).tolist())
    actions: list[int] = []
    expert: list[bool] = []
    for action, count in zip(trajectory.actions, counts.tolist(), strict=True):
        for _ in range(count):
            actions += [next(drawn), bksp]
            expert += [False, True]
        actions.append(action)
        expert.append(True)
    return Trajectory(trajectory.prompt, tuple(actions), trajectory.finished, tuple(expert))
