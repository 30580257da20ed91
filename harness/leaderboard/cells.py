"""The long table as a leaderboard shows it: a table per task, a row per trainer and decoder, a cell per number.

Two errors stand beside a mean, and they are not the same thing. The **seed error** is the standard error of the mean
over training seeds; more seeds make it smaller. The **sample error** is that of one trial's number over its test
samples (root mean square over seeds); more test samples make it smaller, more seeds do not, since seeds share
their test prompts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.leaderboard.numbers import ARROWS

if TYPE_CHECKING:
    import pandas as pd

FENCE = 3.0
"""Cells further than this many quartile ranges from the middle half are off the scale of their column (Tukey's outer
fences), so that one hopeless row does not squeeze all others into a dot."""
_READ = ["metric", "seed", "status", "value", "trial", "sample_error", "n"]


@dataclass(frozen=True)
class Verdict:
    """What ``harness.comparison`` says of a cell.

    Attributes:
        text: "better", "worse", "not distinguishable", "undecidable" or "no direction".
        baseline: the trainer it is compared with.
        effect, low, high: difference to the baseline and its 95 % interval; positive is better.
        p: adjusted over the table (Holm).
        seeds_needed: for a verdict, where it is undecidable.
    """

    text: str
    baseline: str
    effect: float
    low: float
    high: float
    p: float
    seeds_needed: int | None


@dataclass(frozen=True)
class Cell:
    """A number of a trainer under a decoder.

    Attributes:
        by_seed: the values, of the trials that have one.
        trials: identity of the trial, by seed.
        absent: why the other seeds have none, by seed.
        mean: over these; NaN if there are none.
        seed_error, sample_error: see the top of this module; NaN where unknown.
        n: test samples of a trial.
        verdict: None for the baseline itself, or where nothing was compared.
    """

    by_seed: dict[int, float]
    trials: dict[int, str]
    absent: dict[int, str]
    mean: float
    seed_error: float
    sample_error: float
    n: int | None
    verdict: Verdict | None

    @property
    def complete(self) -> bool:
        """Whether every seed has a value."""
        return not self.absent


@dataclass(frozen=True)
class Column:
    """A number over the rows of a task.

    Attributes:
        metric: its name.
        higher_is_better: None where neither direction is better.
        headline: whether the study shows it first.
        low, high: the scale of its cells.
    """

    metric: str
    higher_is_better: bool | None
    headline: bool
    low: float
    high: float

    @property
    def arrow(self) -> str:
        """The better direction."""
        return "" if self.higher_is_better is None else ARROWS[self.higher_is_better]


@dataclass(frozen=True)
class Row:
    """A trainer under a decoder; ``cells`` by metric, ``finished`` counts its trials."""

    trainer: str
    decoder: str
    finished: int
    cells: dict[str, Cell]


@dataclass(frozen=True)
class TaskTable:
    """All numbers of a task."""

    task: str
    seeds: tuple[int, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def baseline(self) -> str | None:
        """The trainer that the others are compared with."""
        verdicts = (cell.verdict for row in self.rows for cell in row.cells.values())
        return next((verdict.baseline for verdict in verdicts if verdict), None)


def task_tables(
    results: pd.DataFrame, headlines: Mapping[str, Sequence[str]], verdicts: pd.DataFrame | None = None
) -> list[TaskTable]:
    """Lay out the long table.

    Args:
        results: the long table; tasks, trainers and decoders keep its order.
        headlines: names of the numbers that come first, by task.
        verdicts: of ``harness.comparison.compare``, or None.
    """
    said = {} if verdicts is None else _verdicts(verdicts)
    tables = []
    for task, rows in results.groupby("task", sort=False):
        first = [name for name in headlines.get(str(task), ()) if (rows["metric"] == name).any()]
        names = [*first, *(name for name in rows["metric"].dropna().unique() if name not in first)]
        seeds = tuple(sorted(int(seed) for seed in rows["seed"].unique()))
        laid = [
            _row(mine, seeds, names, {name: said.get((task, name, *key)) for name in names})
            for key, mine in rows.groupby(["trainer", "decoder"], sort=False)
        ]
        columns = [_column(name, rows, name in first or not first, laid) for name in names]
        tables.append(TaskTable(str(task), seeds, tuple(columns), tuple(laid)))
    return tables


def _row(rows: pd.DataFrame, seeds: Sequence[int], names: Sequence[str], verdicts: Mapping[str, Verdict | None]) -> Row:
    status = dict(zip(rows["seed"].astype(int), rows["status"].astype(str), strict=True))
    status |= dict.fromkeys(rows.loc[rows["status"] == "finished", "seed"].astype(int), "finished")
    by_metric: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    known = rows.loc[rows["metric"].notna(), _READ]
    for values in zip(*(known[name].tolist() for name in _READ), strict=True):
        by_metric[values[0]].append(dict(zip(_READ, values, strict=True)))
    cells = {name: _cell(mine, seeds, status, verdicts[name]) for name, mine in by_metric.items()}
    finished = sum(text == "finished" for text in status.values())
    return Row(str(rows["trainer"].iloc[0]), str(rows["decoder"].iloc[0]), finished, cells)


def _cell(
    rows: Sequence[Mapping[str, Any]], seeds: Sequence[int], status: Mapping[int, str], verdict: Verdict | None
) -> Cell:
    values, trials, errors, own, n = dict[int, float](), dict[int, str](), list[float](), dict[int, str](), None
    for row in rows:
        seed = int(row["seed"])
        if row["status"] != "finished":  # of a table read at a budget
            own[seed] = str(row["status"])
            continue
        values[seed] = float(row["value"])
        trials[seed] = str(row["trial"])
        errors.append(float(row["sample_error"]))
        n = int(row["n"])
    absent = {seed: own.get(seed) or absence(status.get(seed)) for seed in seeds if seed not in values}
    found = np.array(list(values.values()))
    mean = float(found.mean()) if len(found) else math.nan
    spread = float(found.std(ddof=1)) if len(found) > 1 and math.isfinite(mean) else math.nan
    return Cell(
        values,
        trials,
        absent,
        mean,
        seed_error=spread / math.sqrt(len(found)) if len(found) else math.nan,
        sample_error=float(np.sqrt(np.mean(np.square(errors)))) if errors else math.nan,
        n=n,
        verdict=verdict,
    )


def absence(status: str | None) -> str:
    """Why a seed has no value: its trial failed or is missing, or the metric did not report the number."""
    return "-" if status == "finished" else status or "missing"


def _column(name: str, rows: pd.DataFrame, headline: bool, laid: Sequence[Row]) -> Column:
    directions = rows.loc[rows["metric"] == name, "higher_is_better"].dropna()
    low, high = scale([row.cells[name] for row in laid])
    return Column(name, bool(directions.iloc[0]) if len(directions) else None, headline, low, high)


def scale(cells: Sequence[Cell]) -> tuple[float, float]:
    """From where to where a column's values and errors reach, without cells that are off the scale or infinite."""
    cells = [cell for cell in cells if math.isfinite(cell.mean)]
    if not cells:
        return 0.0, 1.0
    means = np.array([cell.mean for cell in cells])
    first, third = np.quantile(means, [0.25, 0.75])
    reach = FENCE * max(third - first, np.median([_spread(cell) for cell in cells]))
    kept = [cell for cell in cells if first - reach <= cell.mean <= third + reach]
    low = min(min(*cell.by_seed.values(), cell.mean - _spread(cell)) for cell in kept)
    high = max(max(*cell.by_seed.values(), cell.mean + _spread(cell)) for cell in kept)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _spread(cell: Cell) -> float:
    return max(0.0, *(error for error in (cell.seed_error, cell.sample_error) if math.isfinite(error)), 0.0)


def _verdicts(table: pd.DataFrame) -> dict[Any, Verdict]:
    import pandas as pd

    said = {}
    for row in table.to_dict("records"):
        needed = row["seeds_needed"]
        said[row["task"], row["metric"], row["trainer"], row["decoder"]] = Verdict(
            text=str(row["verdict"]),
            baseline=str(row["baseline"]),
            effect=float(row["effect"]),
            low=float(row["low"]),
            high=float(row["high"]),
            p=float(row["p_holm"]),
            seeds_needed=None if pd.isna(needed) else int(needed),
        )
    return said
