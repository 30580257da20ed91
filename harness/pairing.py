"""Values of a long table under the training seeds, and why a seed has none: what is compared, and what is gated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.errors import ComparisonError


class Cell(NamedTuple):
    """A place in a long table."""

    task: str
    trainer: str
    decoder: str

    def __str__(self) -> str:
        return f"{self.trainer} on {self.task} ({self.decoder})"


class Value(NamedTuple):
    """A finite number, and its standard error over test samples, NaN where unknown."""

    value: float
    error: float


@dataclass(frozen=True)
class Pairs:
    """What two sides have under the same seeds.

    Attributes:
        seeds: under which both have a value, ascending.
        own, baseline: the values, shape ``(seeds,)``, finite.
        own_errors, baseline_errors: their standard errors over test samples, NaN where unknown.
        lacking: by each other seed, why the one and the other side have no value; empty where a side has one.
        one_sided: whether a trial that has finished has no number where the other side has one (an infinite
            divergence, say): the pairs that are left are then no fair sample.
    """

    seeds: list[int]
    own: NDArray[np.float64]
    baseline: NDArray[np.float64]
    own_errors: NDArray[np.float64]
    baseline_errors: NDArray[np.float64]
    lacking: dict[int, tuple[str, str]]
    one_sided: bool


def match(own: Mapping[int, Value | str], baseline: Mapping[int, Value | str]) -> Pairs:
    """Pair two sides by seed.

    Args:
        own: by seed a value, or why there is none.
        baseline: likewise.
    """
    pairs: dict[int, tuple[Value, Value]] = {}
    lacking: dict[int, tuple[str, str]] = {}
    for seed in sorted({*own, *baseline}):
        mine, other = own.get(seed, "absent"), baseline.get(seed, "absent")
        if isinstance(mine, Value) and isinstance(other, Value):
            pairs[seed] = mine, other
        else:
            lacking[seed] = _reason(mine), _reason(other)
    values = np.array(list(pairs.values()), np.float64).reshape(-1, 2, 2)
    one_sided = any("" in reasons and {*reasons} & _WITHOUT_NUMBER for reasons in lacking.values())
    return Pairs(list(pairs), values[:, 0, 0], values[:, 1, 0], values[:, 0, 1], values[:, 1, 1], lacking, one_sided)


_NOT_REPORTED = "not reported"
_WITHOUT_NUMBER = {_NOT_REPORTED, "inf", "-inf", "nan"}
"""What a finished trial may have in place of a finite number."""
_COLUMNS = ("task", "trainer", "decoder", "seed", "metric", "value", "sample_error", "higher_is_better", "status")


class Cells:
    """The rows of a long table, found by cell, seed and metric.

    Attributes:
        directions: ``higher_is_better`` by task and metric.
        seeds: of all rows, ascending.

    Args:
        rows: of the long table.
        side: what they are, for messages.

    Raises:
        ComparisonError: if there are two values for one place, a trial both has numbers and has none, or a metric has
            two directions.
    """

    def __init__(self, rows: pd.DataFrame, side: str = "table") -> None:
        self.directions: dict[tuple[str, str], bool | None] = {}
        # A trial without any number has one entry, under None.
        self._found: dict[Cell, dict[int, dict[str | None, Value | str]]] = {}
        # Plain loops: a table has few rows per task, and pandas would spend its time on overhead.
        for task, trainer, decoder, seed, metric, value, error, direction, status in zip(
            *(rows[column].tolist() for column in _COLUMNS), strict=True
        ):
            cell = Cell(task, trainer, decoder)
            found = self._found.setdefault(cell, {}).setdefault(seed, {})
            if not isinstance(metric, str):
                found[None] = _NOT_REPORTED if status == "finished" else status
            elif metric in found:
                raise ComparisonError(
                    f"the {side} has {metric} of {cell}, seed {seed}, more than once: keep the rows of one study and "
                    "of one step"
                )
            else:
                number = Value(value, error) if math.isfinite(value) else f"{value:g}"
                found[metric] = number if status == "finished" else status
                unknown = not isinstance(direction, bool) and pd.isna(direction)
                higher = None if unknown else bool(direction)
                if self.directions.setdefault((task, metric), higher) is not higher:
                    raise ComparisonError(
                        f"the {side} has different directions (higher_is_better) for {metric} of task {task!r}"
                    )
            if None in found and len(found) > 1:
                raise ComparisonError(
                    f"the {side} has {cell}, seed {seed}, both as finished and as not: keep one of them"
                )
        self.seeds = sorted({seed for by_seed in self._found.values() for seed in by_seed})

    @property
    def all(self) -> list[Cell]:
        """Every cell, in the order of the rows."""
        return list(self._found)

    def reporting(self, metric: str) -> list[Cell]:
        """The cells in which a metric is named."""
        return [cell for cell, seeds in self._found.items() if any(metric in found for found in seeds.values())]

    def outcomes(self, cell: Cell, metric: str) -> dict[int, Value | str]:
        """By seed of a cell the value, or why there is none; empty where there is no such cell."""
        seeds = self._found.get(cell, {})
        return {seed: found.get(metric, found.get(None, _NOT_REPORTED)) for seed, found in seeds.items()}

    def pairs(self, metric: str, own: Cell, baseline: Cell) -> Pairs:
        """Pair two cells over all seeds of the table."""
        return match(*(self._over_all_seeds(cell, metric) for cell in (own, baseline)))

    def _over_all_seeds(self, cell: Cell, metric: str) -> dict[int, Value | str]:
        absent = "missing" if cell in self._found else f"not run under {cell.decoder}"
        return {**dict.fromkeys(self.seeds, absent), **self.outcomes(cell, metric)}


def _reason(outcome: Value | str) -> str:
    return outcome if isinstance(outcome, str) else ""
