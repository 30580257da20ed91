"""Time of MAUVE from features over that of mauve-text, with the same faiss, and the difference of their scores.

    python benchmarks/mauve_score.py [--n 5000] [--widths 768 1280] [--repeats 5] [--threads 1]

One clustering each, of the same rows with the same seed. Medians of interleaved repeats in one process. Features are
drawn from 50 Gaussian clusters whose variance falls with the rank r of a direction as r^-decay; the system's are
shifted along the first five. A steeper decay leaves fewer principal components, and so less work for k-means.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import faiss
import numpy as np
from mauve import compute_mauve
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from metrics.clustering import canonical_order, principal_components
from metrics.mauve_features import mauve_from_features


def features(n: int, width: int, decay: float, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features of a reference and a system, both of shape ``(n, width)``, in canonical order."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(50, width))
    scales = np.arange(1, width + 1) ** (-decay / 2)
    rotation = np.linalg.qr(rng.normal(size=(width, width)))[0]

    def draw(shift: float) -> NDArray[np.float32]:
        rows = rng.normal(size=(n, width)) + centers[rng.integers(0, len(centers), n)]
        rows[:, :5] += shift
        found: NDArray[np.float32] = (rows * scales @ rotation).astype(np.float32)
        return found[canonical_order(found)]

    return draw(0.0), draw(0.3)


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--n", type=int, default=5000)
    parser.add_argument("--widths", type=int, nargs="+", default=[768, 1280])
    parser.add_argument("--decays", type=float, nargs="+", default=[0.5, 1.0, 1.5])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"faiss {faiss.__version__}, {options.threads} thread(s), n = {options.n}, medians of {options.repeats}\n")
    print(
        f"{'width':>6}{'decay':>7}{'kept':>6}{'mauve-text':>13}{'seqmatch':>11}{'ratio':>8}{'score':>9}{'difference':>13}"
    )
    with threadpool_limits(options.threads):
        for width in options.widths:
            for decay in options.decays:
                report(width, decay, options)


def report(width: int, decay: float, options: argparse.Namespace) -> None:
    p, q = features(options.n, width, decay, options.seed)
    kept = principal_components(np.vstack([q, p])).shape[1]
    theirs, ours, gap, score = [], [], 0.0, 0.0
    for repeat in range(options.repeats):
        seconds, result = timed(partial(mauve_from_features, {"system": q}, p, clusterings=1, seed=repeat))
        ours.append(seconds)
        (seed,), score = result["system"].seeds, result["system"].mauve
        seconds, expected = timed(partial(compute_mauve, p_features=p, q_features=q, seed=seed))
        theirs.append(seconds)
        gap = max(gap, abs(score - expected.mauve))
    left, right = median(theirs), median(ours)
    row = f"{width:6}{decay:7.1f}{kept:6}{left:11.2f} s{right:9.2f} s{left / right:8.2f}{score:9.4f}{gap:13.1e}"
    print(row, flush=True)


if __name__ == "__main__":
    main()
