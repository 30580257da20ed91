"""What a leaderboard reads of a results folder: tables and records, never a model, a tokenizer or a corpus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import ComparisonError, RegistryError
from harness.registry import METRICS

if TYPE_CHECKING:
    import pandas as pd

    from harness.store import Store


@dataclass(frozen=True)
class Tables:
    """The tables of a study.

    Attributes:
        results: the long table.
        evaluations: the long table over all evaluated steps, see ``Store.evaluations``.
        series: curves that metrics reported, see ``Store.series``.
        verdicts: of ``harness.comparison.compare``; None where there is nothing to compare.
        labels: of the axes of the series, by metric and series.
        note: at which budget the results were read; empty: at the end of training.
    """

    results: pd.DataFrame
    evaluations: pd.DataFrame
    series: pd.DataFrame
    verdicts: pd.DataFrame | None
    labels: dict[tuple[str, str], tuple[str, str]]
    note: str = ""


def read_tables(store: Store, baseline: str | None = None, at: str | None = None) -> Tables:
    """Read a results folder.

    Args:
        store: results folder.
        baseline: trainer to compare with, see ``harness.comparison.compare``.
        at: a budget at which the results are read, see ``harness.equal_budget.parse_at``.

    Raises:
        StoreError: if there is no study, or a file is damaged.
        ComparisonError: if the baseline is named and not in the results.
        RequestError: if the budget cannot be parsed.
    """
    from harness.comparison import compare
    from harness.equal_budget import at_budget, parse_at, spending

    (evaluations, results), note = store.long_tables(), ""
    if at is not None:
        clock, limit = parse_at(at)
        results = at_budget(evaluations, clock, limit)
        note = spending(results, clock, limit)
    try:
        verdicts = compare(results, baseline)
    except ComparisonError:
        if baseline is not None:
            raise
        verdicts = None
    return Tables(results, evaluations, store.series(), verdicts, _labels(store), note)


def _labels(store: Store) -> dict[tuple[str, str], tuple[str, str]]:
    """What the metrics of the study call the axes of their curves; those that are not installed here say nothing."""
    used = {(metric["name"], metric["use"]) for trial in store.study()["trials"] for metric in trial["metrics"]}
    labels = dict[tuple[str, str], tuple[str, str]]()
    for name, use in sorted(used):
        try:
            declared = METRICS.load(use).series
        except RegistryError:
            continue
        labels |= {(name, series): (axes.x, axes.y) for series, axes in declared.items()}
    return labels
