"""A study on several worker processes over the same in one, side by side, at equal results.

Ratios are of medians of interleaved repeats. The clock runs while trials run, start and imports of the workers
included; what these take by themselves is printed beside it.

Example::

    python benchmarks/workers.py                                    # about 10 minutes on two idle cores
    python benchmarks/workers.py --trials 2 --steps 5 --repeats 1
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import harness
from harness.engines import Engine, RunTrial
from harness.engines.choice import choose
from harness.progress import Display
from harness.study import Study
from harness.trial import Trial


def study(trials: int, steps: int) -> Study:
    """Trials that differ in their seed alone."""
    fresh = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 512}
    return Study(
        name="workers",
        seeds=trials,
        model={"fresh": {**fresh, "max_position_embeddings": 64}},
        budget={"steps": steps},
        trainers={"mle": {}},
        tasks={"language": {"metrics": {"diversity": {}}}},
    )


@dataclass
class Timed:
    """An engine, and how long it ran the trials, or only started and imported what one needs in ``starts`` workers."""

    engine: Engine
    starts: int = 0
    seconds: float = 0.0

    def run(self, trials: Sequence[Trial], out: Path, run_trial: RunTrial, shown: Display) -> None:
        started = time.perf_counter()
        if self.starts:
            self.engine.run(trials[: self.starts], out, import_all, shown)
        else:
            self.engine.run(trials, out, run_trial, shown)
        self.seconds = time.perf_counter() - started


def import_all(*_: object) -> None:
    for name in ("datasets", "peft", "torch", "transformers", "harness.execution", "trainers.models"):
        importlib.import_module(name)


def run(measured: Study, engine: Engine) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as out:
        return harness.run(measured, out, engine=engine).drop(columns="seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--steps", type=int, default=600, help="of each trial; more of them, longer trials")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    measured, workers = study(arguments.trials, arguments.steps), arguments.workers
    one, several, starts = list[float](), list[float](), list[float]()
    for _ in range(arguments.repeats):
        serial, parallel = Timed(choose(workers=1)), Timed(choose(workers=workers))
        pd.testing.assert_frame_equal(run(measured, serial), run(measured, parallel))
        start = Timed(choose(workers=workers), starts=workers)
        run(measured, start)
        one.append(serial.seconds)
        several.append(parallel.seconds)
        starts.append(start.seconds)
    ratio = statistics.median(one) / statistics.median(several)
    print(f"{os.cpu_count()} cores, {arguments.trials} trials of {statistics.median(one) / arguments.trials:.1f} s")
    print(f"{'one process':<16}{statistics.median(one):8.1f} s")
    print(f"{f'{workers} workers':<16}{statistics.median(several):8.1f} s")
    print(f"{'their start':<16}{statistics.median(starts):8.1f} s")
    print(f"{'ratio':<16}{ratio:8.2f}")


if __name__ == "__main__":
    main()
