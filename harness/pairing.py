"""Values of two trainers under the same training seeds, and why a seed has none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.errors import ComparisonError


@dataclass(frozen=True)
class Pairs:
    """What a trainer and the baseline have under the same seeds.

    Attributes:
        seeds: under which both have a value, ascending.
        own, baseline: the values, shape ``(seeds,)``, finite.
        own_errors, baseline_errors: their standard errors over test samples, NaN where unknown.
        missing: the other seeds, and what is missing there; empty if none.
    """

    seeds: list[int]
    own: NDArray[np.float64]
    baseline: NDArray[np.float64]
    own_errors: NDArray[np.float64]
    baseline_errors: NDArray[np.float64]
    missing: str


_COLUMNS = ("task", "metric", "trainer", "decoder", "seed", "value", "sample_error", "higher_is_better", "status")


class Cells:
    """The rows of one task, found by metric, trainer, decoder and seed.

    Attributes:
        directions: ``higher_is_better`` of each metric that is reported.
        entrants: trainers and decoders, in the order of the rows.

    Args:
        rows: of the long table, of one task.

    Raises:
        ComparisonError: if there are two values for one place, or two directions for one metric.
    """

    def __init__(self, rows: pd.DataFrame) -> None:
        self.directions: dict[str, bool | None] = {}
        self._values: dict[tuple[str, str, str, int], tuple[float, float]] = {}
        self._unmeasured: dict[tuple[str, str, str, int], str] = {}
        self._status: dict[tuple[str, str], dict[int, str]] = {}
        # Plain loops: a table has few rows per task, and pandas would spend its time on overhead.
        for task, metric, trainer, decoder, seed, value, error, direction, status in zip(
            *(rows[column].tolist() for column in _COLUMNS), strict=True
        ):
            self._status.setdefault((trainer, decoder), {}).setdefault(seed, status)
            if not isinstance(metric, str):
                continue
            key = (metric, trainer, decoder, seed)
            if key in self._values:
                raise ComparisonError(
                    f"task {task!r} has two values of {metric} for trainer {trainer!r}, decoder {decoder!r} and seed "
                    f"{seed}: keep the rows of one study and of one step"
                )
            if status == "finished":
                self._values[key] = value, error
            else:
                self._unmeasured[key] = status
            found = None if pd.isna(direction) else bool(direction)
            if self.directions.setdefault(metric, found) is not found:
                raise ComparisonError(f"task {task!r} has different directions (higher_is_better) for {metric}")
        self.entrants = list(self._status)
        self._seeds = sorted({seed for by_seed in self._status.values() for seed in by_seed})

    def pairs(self, metric: str, trainer: str, base: str, decoder: str) -> Pairs:
        """Match the values of two trainers under one decoder by seed."""
        paired, missing = [], []
        for seed in self._seeds:
            lacking = [f"{name} {why}" for name in (trainer, base) if (why := self._lack(metric, name, decoder, seed))]
            if lacking:
                missing.append(f"seed {seed}: {', '.join(lacking)}")
            else:
                paired.append(seed)
        mine, other = (
            np.array([self._values[metric, name, decoder, seed] for seed in paired]).reshape(-1, 2)
            for name in (trainer, base)
        )
        return Pairs(paired, mine[:, 0], other[:, 0], mine[:, 1], other[:, 1], "; ".join(missing))

    def _lack(self, metric: str, trainer: str, decoder: str, seed: int) -> str:
        """Why there is no value; empty where there is one."""
        key = (metric, trainer, decoder, seed)
        if key in self._values:
            return "" if math.isfinite(self._values[key][0]) else "not a finite number"
        if key in self._unmeasured:
            return self._unmeasured[key]
        if (trainer, decoder) not in self._status:
            return f"not run under {decoder}"
        status = self._status[trainer, decoder].get(seed, "missing")
        return "not reported" if status == "finished" else status
