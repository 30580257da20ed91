"""The random generators that a whole process shares: set, and compared, so that nobody draws from them unseen."""

from __future__ import annotations

import hashlib
import pickle
import random

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Seed the generators of Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)


def states() -> dict[str, str]:
    """A digest of each generator's state, by the name of its library."""
    found = {
        "random": pickle.dumps(random.getstate()),
        "numpy.random": pickle.dumps(np.random.get_state()),  # noqa: NPY002
        "torch": torch.get_rng_state().numpy().tobytes(),
    }
    return {name: hashlib.sha256(state).hexdigest() for name, state in found.items()}


def touched(before: dict[str, str]) -> list[str]:
    """Libraries whose generator is in another state than ``states`` said."""
    return [name for name, state in states().items() if state != before[name]]
