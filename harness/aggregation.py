"""Trainers across tasks: probability of improvement, and interquartile mean of normalised scores.

One number speaks for each task, and a seed counts if it is finished on all of them. Scores are normalised so that 0 is
the mean of the untrained trainer ``pretrained``, the floor, and 1 the baseline, whatever the direction. With x, b and f
the values of a trainer, of the baseline and of the floor,

    score(seed) = 1 + (x(seed) - b(seed)) / (mean b - mean f).

This has the mean of the plain ``(x(seed) - mean f) / (mean b - mean f)``, but pairs the seeds: what a seed does to both
cancels. It is defined where the baseline is better than the floor under every seed. An interval is over the seeds of
the pairs; the unit, the baseline less the floor, is taken as given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from harness.comparison import LEVEL, Metrics, choose_baseline, names_to_compare
from harness.pairing import Cell, Cells
from harness.statistics import bootstrap_interval, iqm, probability_of_improvement, share_interval

FLOOR = "pretrained"

COLUMNS: dict[str, str] = {
    "decoder": "str",
    "trainer": "str",
    "baseline": "str",
    "tasks": "int64",
    "seeds": "int64",
    "improvement": "float64",
    "improvement_low": "float64",
    "improvement_high": "float64",
    "iqm": "float64",
    "iqm_low": "float64",
    "iqm_high": "float64",
    "reason": "str",
}
"""Columns of an aggregate and their types, see ``across_tasks``."""


def task_numbers(results: pd.DataFrame, metrics: Metrics | None = None) -> dict[str, str]:
    """The number that speaks for each task: the first of ``metrics`` with a direction; a task without is left out.

    Args:
        results: the long table.
        metrics: as for ``harness.comparison.compare``.
    """
    numbers = {}
    for task, rows in results.groupby("task", sort=False):
        directed = set(rows.loc[rows["higher_is_better"].notna(), "metric"])
        first = next((name for name in names_to_compare(str(task), rows, metrics) if name in directed), None)
        if first is not None:
            numbers[str(task)] = first
    return numbers


def across_tasks(results: pd.DataFrame, numbers: Mapping[str, str], baseline: str | None = None) -> pd.DataFrame:
    """Hold every trainer against the baseline on all tasks together.

    Args:
        results: the long table.
        numbers: the number that speaks for each task, see ``task_numbers``.
        baseline: as for ``harness.comparison.compare``.

    Returns:
        A row per trainer and decoder:

        - ``seeds``: pairs that are finished on all ``tasks``; all that follows is over these.
        - ``improvement``: probability that the trainer is better than the baseline under the same seed, mean over
          tasks, with its Clopper-Pearson interval of 95 %, in which a seed is one trial however many tasks there are.
        - ``iqm``: interquartile mean of normalised scores over tasks and seeds, 0 the floor and 1 the baseline, with
          a bootstrap interval of 95 % over seeds. NaN where there is none, and ``reason`` says why.

    Raises:
        ComparisonError: see ``harness.comparison.compare``.
    """
    base = choose_baseline(results, baseline)
    tasks = [_Task.of(task, results, metric) for task, metric in numbers.items()]
    entrants = dict.fromkeys(cell[1:] for task in tasks for cell in task.cells.all if cell.trainer != base)
    rows = [
        {"decoder": decoder, "trainer": trainer, "baseline": base, **_aggregate(tasks, trainer, base, decoder)}
        for trainer, decoder in entrants
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


@dataclass(frozen=True)
class _Task:
    name: str
    cells: Cells
    metric: str
    sign: int

    @classmethod
    def of(cls, name: str, results: pd.DataFrame, metric: str) -> _Task:
        cells = Cells(results[results["task"] == name])
        return cls(name, cells, metric, 1 if cells.directions[name, metric] else -1)

    def gains(self, trainer: str, base: str, decoder: str) -> dict[int, float]:
        """By how much a trainer is better than the baseline, by seed."""
        own, other = (Cell(self.name, name, decoder) for name in (trainer, base))
        pairs = self.cells.pairs(self.metric, own, other)
        return dict(zip(pairs.seeds, (self.sign * (pairs.own - pairs.baseline)).tolist(), strict=True))


def _aggregate(tasks: list[_Task], trainer: str, base: str, decoder: str) -> dict[str, Any]:
    by_task = [task.gains(trainer, base, decoder) for task in tasks]
    seeds = sorted(set.intersection(*map(set, by_task)))
    counts = {"tasks": len(tasks), "seeds": len(seeds)}
    if not seeds:
        return {**counts, "reason": f"no seed is finished on all {len(tasks)} tasks"}
    gains = np.array([[gain[seed] for gain in by_task] for seed in seeds])
    improvement = probability_of_improvement(gains, np.zeros_like(gains))
    low, high = share_interval(improvement, len(seeds), LEVEL)
    row = {**counts, "improvement": improvement, "improvement_low": low, "improvement_high": high}
    units = _units(tasks, base, decoder)
    if isinstance(units, str):
        return {**row, "reason": units}
    scores: NDArray[np.float64] = 1 + gains / units

    def resampled(chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(stats.trim_mean(scores[chosen].reshape(len(chosen), -1), 0.25, axis=1))

    low, high = bootstrap_interval(resampled, len(seeds), LEVEL)
    return {**row, "iqm": iqm(scores), "iqm_low": low, "iqm_high": high, "reason": ""}


def _units(tasks: list[_Task], base: str, decoder: str) -> NDArray[np.float64] | str:
    """What the baseline is better than the floor by, per task; or why scores cannot be normalised."""
    if base == FLOOR:
        return f"the baseline is {FLOOR} itself, which is 0 and 1 at once"
    units = []
    for task in tasks:
        gains = np.array(list(task.gains(FLOOR, base, decoder).values()))
        if not len(gains):
            return f"there is no {FLOOR} under {decoder} to be 0"
        if not (gains < 0).all():
            return f"{base} is not better than {FLOOR} under every seed in {task.metric} ({task.name})"
        units.append(-gains.mean())
    return np.array(units)
