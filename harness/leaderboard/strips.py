"""The small picture in a cell: where the seeds lie, how far each error reaches, and where the baseline is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.leaderboard.cells import Cell, Column

WIDTH = 56.0
MARGIN = 3.0


@dataclass(frozen=True)
class Bar:
    """From ``x`` on, ``width`` long, in units of the picture."""

    x: float
    width: float


@dataclass(frozen=True)
class Strip:
    """Coordinates in a picture ``WIDTH`` wide.

    Attributes:
        mean: None where it is off the scale.
        off: "left" or "right" where the mean is off the scale of its column, else empty.
        seeds: of the values within the scale.
        seed_bar, sample_bar: mean plus and minus the error, cut at the edge; None where it is not known.
        baseline: mean of the baseline; None where there is none, or it is off the scale.
    """

    mean: float | None
    off: str
    seeds: tuple[float, ...]
    seed_bar: Bar | None
    sample_bar: Bar | None
    baseline: float | None


def strip(cell: Cell, column: Column, baseline: float | None) -> Strip:
    """Place a cell with values on the scale of its column.

    Args:
        cell: has at least one value.
        column: gives the scale.
        baseline: mean of the baseline trainer under the same decoder, if there is one.
    """
    off = "left" if cell.mean < column.low else "" if cell.mean <= column.high else "right"
    if off:
        return Strip(None, off, (), None, None, _inside(baseline, column))
    seeds = tuple(_place(value, column) for value in cell.by_seed.values() if column.low <= value <= column.high)
    seed_bar, sample_bar = (_bar(cell.mean, error, column) for error in (cell.seed_error, cell.sample_error))
    return Strip(_place(cell.mean, column), "", seeds, seed_bar, sample_bar, _inside(baseline, column))


def _place(value: float, column: Column) -> float:
    share = (value - column.low) / (column.high - column.low)
    return round(MARGIN + share * (WIDTH - 2 * MARGIN), 1)


def _inside(value: float | None, column: Column) -> float | None:
    return None if value is None or not column.low <= value <= column.high else _place(value, column)


def _bar(mean: float, error: float, column: Column) -> Bar | None:
    if math.isnan(error):
        return None
    first, last = (_place(min(max(mean + side * error, column.low), column.high), column) for side in (-1, 1))
    return Bar(first, round(last - first, 1))
