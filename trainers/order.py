"""The order in which training reads the data; a function of its seed alone, so that trainers can be compared."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def index_batches(count: int, batch_size: int, seed: int) -> Iterator[list[int]]:
    """Batches of indices for ever; each epoch is a permutation of its own, batches run across epochs.

    A trainer that owns its loop and reads the data in this order, with ``context.seeds["order"]``, sees at every
    optimiser step the examples that the shared loop shows to the others.

    Args:
        count: number of examples, at least 1.
        batch_size: indices per batch.
        seed: of the permutations.

    Yields:
        Indices in ``[0, count)``.
    """
    pending: list[int] = []
    epoch = 0
    while True:
        while len(pending) < batch_size:
            pending += np.random.default_rng([seed, epoch]).permutation(count).tolist()
            epoch += 1
        yield pending[:batch_size]
        pending = pending[batch_size:]
