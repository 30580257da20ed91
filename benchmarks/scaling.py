"""How time and memory grow with the sizes of a study, against the exponents that are expected.

    python benchmarks/scaling.py [--only lengths vocabulary buffer mauve trials] [--repeats 5] [--trials 1000]

Processor time of one thread. A repeat goes through all sizes in turn, and gives the slope of log time over log size;
the table has the median of the slopes, the least and the greatest. Memory is counted and not sampled: the bytes that
autograd keeps for the backward pass, or the peak of what numpy allocates.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

import harness
from trainers.base import Context
from trainers.batches import Trajectory, collate
from trainers.mle import MaximumLikelihood
from trainers.model_spec import FreshModel, ModelSpec
from trainers.models import build_policy, tokenizer_for
from trainers.policy import Policy
from trainers.replay import ReplayBuffer
from trainers.rollouts import Rollouts

Measured = tuple[float, float]
"""Processor seconds, and bytes."""


@dataclass(frozen=True)
class Axis:
    """What grows: its sizes, the most that time and memory may grow by, and what measures one size."""

    name: str
    sizes: Sequence[int]
    expected: str
    prepare: Callable[[int], Callable[[], Measured]]


def policy(vocabulary: int, positions: int = 64) -> Policy:
    """A small Llama over about so many tokens."""
    fresh = FreshModel(hidden_size=64, intermediate_size=256, max_position_embeddings=positions, merges=0)
    spec = ModelSpec(fresh=fresh)
    tokenizer = tokenizer_for(spec, lambda: iter(["abc"]), None)
    tokenizer.add_tokens([f"<{index}>" for index in range(max(0, vocabulary - len(tokenizer)))])
    return build_policy(spec, tokenizer, backspace=False, seed=0)


def step(trained: Policy, length: int) -> Callable[[], Measured]:
    """Loss and gradients of maximum likelihood on 8 texts of one length."""
    rng = np.random.default_rng(0)
    actions = [tuple(rng.integers(3, 200, length).tolist()) for _ in range(8)]
    batch = collate([Trajectory((1,), each, False, (True,) * length) for each in actions], None)

    def run() -> Measured:
        from trainers.batches import Batch

        kept, weights = dict[int, int](), {each.untyped_storage().data_ptr() for each in trained.model.parameters()}
        alive = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage.nbytes()
                alive.append(tensor)
            return tensor

        start = time.process_time()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = MaximumLikelihood().loss(trained, Batch(batch, None, 1.0, 0, 1))
        loss.total.backward()
        return time.process_time() - start, float(sum(kept.values()))

    return run


def buffer(size: int) -> Callable[[], Measured]:
    """200 draws of 32 roll-outs from a full buffer; nothing is sampled."""
    context = Context(seeds={"rollout": 0})
    full = ReplayBuffer([(1,)], context, Rollouts(batch=32, refresh=1, capacity=size, refresh_every=10**9))
    full.kept.extend(Trajectory((1,), (2,) * 64, False, (True,) * 64) for _ in range(size))
    untouched = policy(0)

    def run() -> Measured:
        start = time.process_time()
        for number in range(1, 201):
            full.draw(untouched, number)
        return time.process_time() - start, float(len(full.state()))

    return run


def mauve(n: int) -> Callable[[], Measured]:
    """MAUVE of n features of 64 numbers against n others, in n / 10 clusters."""
    from metrics.mauve_features import mauve_from_features

    ours, theirs = np.random.default_rng(0).normal(size=(2, n, 64)).astype(np.float32)

    def run() -> Measured:
        tracemalloc.start()
        start = time.process_time()
        mauve_from_features({"system": ours}, theirs, clusters=n // 10, clusterings=1)
        spent, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return spent, float(peak)

    return run


def finished(count: int, folder: Path) -> Path:
    """A results folder of about so many finished trials of the study quick, written as a run writes them."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "harness"))
    from stores import make_store

    make_store(folder, (f"seeds={max(1, round(count / 15))}",)).write_results()
    return folder


def reading(folder: Path) -> dict[str, float]:
    """Processor seconds of loading, comparing and rendering a results folder."""
    from harness import verdicts
    from harness.leaderboard.page import write_leaderboard
    from harness.leaderboard.plain import as_text
    from harness.leaderboard.reading import read_tables
    from harness.store import Store

    def render() -> None:
        store = Store(folder)
        write_leaderboard(store, read_tables(store), folder / "leaderboard.html")

    spent = {}
    for name, run in {
        "load": lambda: harness.load_results(folder),
        "compare": lambda: as_text(verdicts.judge(folder).layout()),
        "render": render,
    }.items():
        start = time.process_time()
        run()
        spent[name] = time.process_time() - start
    return spent


def trials(count: int) -> Callable[[], Measured]:
    """Loading, comparing and rendering that many finished trials; memory is the size of the page."""
    folder = finished(count, Path(tempfile.mkdtemp(prefix="seqmatch-scaling-")))

    def run() -> Measured:
        seconds = sum(reading(folder).values())
        return seconds, float((folder / "leaderboard.html").stat().st_size)

    return run


AXES = {
    "lengths": Axis(
        "sequence length", (128, 256, 512, 1024), "time 1 to 2, memory 1", lambda n: step(policy(0, n + 1), n)
    ),
    "vocabulary": Axis("vocabulary", (4096, 8192, 16384, 32768), "at most 1, at most 1", lambda n: step(policy(n), 32)),
    "buffer": Axis("replay buffer", (128, 512, 2048, 8192), "time 0, trajectories kept 1", buffer),
    "mauve": Axis("n of MAUVE", (500, 1000, 2000, 4000), "time at most 2, memory at most 2", mauve),
    "trials": Axis("finished trials", (60, 120, 240, 480), "at most 1, at most 1", trials),
}


def slope(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Of log value over log size, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="*", choices=AXES, default=list(AXES))
    parser.add_argument("--shrink", type=int, default=1, help="divide all sizes by this")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--trials", type=int, default=1000, help="finished trials that are timed step by step; 0: none")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread, processor time, {options.repeats} repeats\n")
    print(f"{'axis':<16} {'sizes':<24} {'time exponent':<24} {'memory exponent':<16} expected")
    for name in options.only:
        axis = AXES[name]
        sizes = [max(1, size // options.shrink) for size in axis.sizes]
        runs = [axis.prepare(size) for size in sizes]
        for run in runs:
            run()
        found = [[run() for run in runs] for _ in range(options.repeats)]
        times = [slope(sizes, [seconds for seconds, _ in row]) for row in found]
        memory = [slope(sizes, [size for _, size in row]) for row in found]
        interval = f"{median(times):.2f} [{min(times):.2f}, {max(times):.2f}]"
        shown = " ".join(map(str, sizes))
        print(f"{axis.name:<16} {shown:<24} {interval:<24} {median(memory):<16.2f} {axis.expected}", flush=True)
    if options.trials:
        folder = finished(options.trials, Path(tempfile.mkdtemp(prefix="seqmatch-scaling-")))
        reading(folder)
        rows = [reading(folder) for _ in range(options.repeats)]
        steps = {name: median(row[name] for row in rows) for name in rows[0]}
        print(f"\n{options.trials} finished trials: {sum(steps.values()):.2f} s of CPU", end=" (")
        print(", ".join(f"{name} {seconds:.2f}" for name, seconds in steps.items()), end=")\n")


if __name__ == "__main__":
    main()
