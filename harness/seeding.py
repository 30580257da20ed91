"""Seed axes: one seed of a trial becomes one independent seed per kind of random draw.

A seed depends on the trial's seed and on the axis, never on the trainer: trials of one seed start from the
same weights, read the data in the same order and are tested with the same random numbers, whatever trains them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

AXES = ("init", "order", "dropout", "noise", "rollout", "generation", "metric")
"""Fresh weights and adapters; order of the data; dropout; noise in the data; roll-outs in training; test generations;
k-means."""
TRAINING_AXES = ("order", "dropout", "noise", "rollout")
"""Those that a trainer draws from; it has not seen the random numbers of the test."""


def axis_seed(seed: int, axis: str) -> int:
    """Fold a trial's seed with an axis.

    Args:
        seed: seed of the trial.
        axis: one of ``AXES``.

    Returns:
        A number in [0, 2**31), which every random generator in use accepts.

    Raises:
        ValueError: if the axis is unknown.
    """
    if axis not in AXES:
        raise ValueError(f"unknown seed axis {axis!r}; valid: {', '.join(AXES)}")
    digest = hashlib.blake2b(f"{seed}:{axis}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def axis_seeds(seed: int, axes: Iterable[str] = AXES) -> dict[str, int]:
    """The seeds of some axes, by name."""
    return {axis: axis_seed(seed, axis) for axis in axes}
