"""``seqmatch compare``: verdicts on a results folder, or on anybody's long table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Group

from harness.aggregation import across_tasks, task_numbers
from harness.comparison import Metrics, compare
from harness.equal_budget import at_budget, parse_at, spending
from harness.errors import HarnessError, RequestError
from harness.leaderboard import grids
from harness.leaderboard.comparison import STYLES, aggregate_footnotes, aggregate_grid, footnotes, task_grids
from harness.places import opened, place_of
from harness.result_files import read_results
from harness.store import Store
from harness.tables import unequal_steps
from harness.writing import write_file, writing

SUFFIXES = (".csv", ".parquet", ".md")
ALL = "all"


@dataclass(frozen=True)
class Report:
    """Verdicts, and what they rest on.

    Attributes:
        comparison: from ``harness.comparison.compare``.
        aggregate: from ``harness.aggregation.across_tasks``; empty with fewer than two tasks.
        numbers: the number that speaks for each task in ``aggregate``.
        alpha: level of the verdicts.
        absent: trials that failed or are missing, by status.
        budget: where trials did not spend the same: what they had spent.
    """

    comparison: pd.DataFrame
    aggregate: pd.DataFrame
    numbers: dict[str, str]
    alpha: float
    absent: dict[str, int]
    budget: tuple[str, ...] = ()

    def layout(self) -> Group:
        """Tables and footnotes for the terminal."""
        return grids.layout(self._grids(), self._notes(), STYLES)

    def write(self, path: Path) -> None:
        """Write the comparison as CSV or Parquet, or tables and footnotes as markdown, whole.

        Raises:
            StoreError: if the file cannot be written.
        """
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".md":
                text = grids.markdown(self._grids(), self._notes())
                write_file(path, lambda to: to.write_text(text, encoding="utf-8"))
            elif path.suffix == ".parquet":
                write_file(path, self.comparison.to_parquet)
            else:
                write_file(path, lambda to: self.comparison.to_csv(to, index=False))

    def _grids(self) -> list[grids.Grid]:
        across = [aggregate_grid(self.aggregate)] if len(self.aggregate) else []
        return [*task_grids(self.comparison), *across]

    def _notes(self) -> list[str]:
        silent = [task for task in self.comparison["task"].unique() if task not in self.numbers]
        across = aggregate_footnotes(self.aggregate, self.numbers, silent) if len(self.aggregate) else []
        absent = [
            f"{count} trial{'s' if count != 1 else ''} {status}." for status, count in self.absent.items() if count
        ]
        return [*footnotes(self.comparison, self.alpha), *across, *self.budget, *absent]


def judge(
    source: str | Path,
    baseline: str | None = None,
    metrics: Sequence[str] = (),
    alpha: float = 0.05,
    at: str | None = None,
) -> Report:
    """Compare the trainers of a results folder or long table.

    Args:
        source: results folder, or .parquet or .csv file, or the URL of one.
        baseline: see ``compare``.
        metrics: names of numbers; "all"; none: the headlines of the study, or all where no study says which.
        alpha: see ``compare``.
        at: an equal budget at which the table is read, see ``harness.equal_budget.parse_at``.

    Raises:
        HarnessError: if the source cannot be read, or not compared as asked.
    """
    folder = opened(source)
    table, budget = _read(folder, at)
    chosen = _chosen(folder, metrics)
    comparison = compare(table, baseline, chosen, alpha)
    numbers = task_numbers(table, chosen)
    if len(numbers) < 2:
        numbers = {}
    absent = {status: _trials(table, status) for status in ("failed", "missing")}
    return Report(comparison, across_tasks(table, numbers, baseline), numbers, alpha, absent, budget)


def check_suffix(path: Path) -> None:
    """Raise HarnessError unless ``Report.write`` knows the suffix."""
    if path.suffix not in SUFFIXES:
        raise HarnessError(f"--out {path}: the name must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")


def _read(source: Path, at: str | None) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The long table; and where it is read at an equal budget or steps differ, what had been spent."""
    if at is None:
        table = read_results(source, "results")
        return table, tuple(unequal_steps(table))
    clock, limit = parse_at(at)
    if not source.is_dir():
        raise RequestError(
            f"--at {at}: {place_of(source)} holds no measurements during training; give the --out of a run"
        )
    table = at_budget(Store(source).evaluations(), clock, limit)
    return table, (spending(table, clock, limit),)


def _trials(table: pd.DataFrame, status: str) -> int:
    """How many have this status as a whole; a number alone may be missing too."""
    rows = table[table["metric"].isna() & (table["status"] == status)]
    return len(rows[["trainer", "task", "seed"]].drop_duplicates())


def _chosen(source: Path, metrics: Sequence[str]) -> Metrics | None:
    if ALL in metrics:
        return None
    if metrics:
        return metrics
    headlines: dict[str, list[str]] | None = Store(source).study()["headlines"] if source.is_dir() else None
    return headlines
