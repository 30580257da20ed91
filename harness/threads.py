"""How many threads a trial computes with: sums depend on it, and trials side by side must not fight for cores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def thread_variables(threads: int) -> dict[str, str]:
    """Environment in which BLAS, OpenMP and the like take ``threads`` threads when they are loaded."""
    names = ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMBA", "NUMEXPR")
    return {**{f"{name}_NUM_THREADS": str(threads) for name in names}, "VECLIB_MAXIMUM_THREADS": str(threads)}


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Let torch, BLAS and OpenMP compute with ``threads`` threads, those that are loaded inside too."""
    before = {name: os.environ.get(name) for name in thread_variables(threads)}
    os.environ.update(thread_variables(threads))

    import torch
    from threadpoolctl import threadpool_limits

    torch_threads = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(limits=threads):
            yield
    finally:
        torch.set_num_threads(torch_threads)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
