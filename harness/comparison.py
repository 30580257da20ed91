"""Every trainer against a baseline, paired by training seed: from a long table to verdicts.

A family is the comparisons of one task and metric; its p-values are corrected together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.errors import ComparisonError, suggestion
from harness.pairing import Cell, Cells, Pairs
from harness.statistics import holm, seeds_needed, sign_flip_floor, sign_flips, t_interval

LEVEL = 0.95
BASELINE = "mle"

BETTER, WORSE, SAME = "better", "worse", "not distinguishable"
UNDECIDABLE, UNDIRECTED = "undecidable", "no direction"

COLUMNS: dict[str, str] = {
    "task": "str",
    "metric": "str",
    "higher_is_better": "boolean",
    "decoder": "str",
    "trainer": "str",
    "baseline": "str",
    "seeds": "int64",
    "missing": "str",
    "mean": "float64",
    "baseline_mean": "float64",
    "sample_error": "float64",
    "baseline_sample_error": "float64",
    "effect": "float64",
    "low": "float64",
    "high": "float64",
    "p": "float64",
    "p_holm": "float64",
    "test": "str",
    "verdict": "str",
    "seeds_needed": "Int64",
}
"""Columns of a comparison and their types, see ``compare``."""

Metrics = Sequence[str] | Mapping[str, Sequence[str]]


def compare(
    results: pd.DataFrame, baseline: str | None = None, metrics: Metrics | None = None, alpha: float = 0.05
) -> pd.DataFrame:
    """Compare every trainer with the baseline under the same decoder, over the seeds under which both have a number.

    Args:
        results: the long table (``harness.tables.COLUMNS``).
        baseline: name of the trainer to compare with; "mle" if there is one, else the first.
        metrics: names of numbers, of every task or by task; all of them if not given, or for a task not named.
        alpha: level of the verdicts; of a family, after Holm's correction.

    Returns:
        A row per task, metric, trainer and decoder, in the order of ``results``:

        - ``seeds``: pairs; all that follows is over these. ``missing``: the seeds that are not, and why.
        - ``mean``, ``baseline_mean``: of the values. ``sample_error`` and ``baseline_sample_error``: their standard
          error over test samples, within a policy (root mean square over seeds); NaN where unknown.
        - ``effect``: mean paired difference; positive is better where the metric has a direction, else plainly the
          trainer less the baseline. ``low``, ``high``: its Student-t interval of 95 % over seeds.
        - ``p``, ``p_holm``: sign-flip test, two-sided, and corrected over the family; NaN without a pair or a
          direction. ``test``: "exact", or "drawn" with too many pairs for that (``harness.statistics.EXACT_PAIRS``).
        - ``verdict``: "better", "worse" or "not distinguishable", by ``p_holm``; "undecidable" where even the clearest
          outcome of so few seeds could not reach ``alpha``, or where a finished trial of one side alone has no number
          (``harness.pairing.Pairs.one_sided``); "no direction". ``seeds_needed``: of one with too few, so many would do
          for every comparison of the family, those that lack seeds included.

    Raises:
        ComparisonError: if there is nothing to compare, a name is unknown, or a value is there twice.
    """
    if not 0 < alpha < 1:
        raise ComparisonError(f"alpha must lie between 0 and 1, got {alpha}")
    base = choose_baseline(results, baseline)
    _check_names(results, metrics)
    rows: list[dict[str, Any]] = []
    for task, of_task in results.groupby("task", sort=False):
        cells = Cells(of_task)
        for metric in names_to_compare(str(task), of_task, metrics):
            rows += _family(str(task), metric, base, cells, alpha)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def choose_baseline(results: pd.DataFrame, named: str | None = None) -> str:
    """The trainer to compare with: the one that is named, else "mle", else the first.

    Raises:
        ComparisonError: if it is not in the table, or the only one.
    """
    trainers = [str(trainer) for trainer in results["trainer"].unique()]
    if named is not None and named not in trainers:
        raise ComparisonError(f"unknown baseline {named!r}{suggestion(named, trainers)}")
    if len(trainers) < 2:
        raise ComparisonError(f"there is nothing to compare: the results hold {trainers or 'no trainer'} and no other")
    return named or (BASELINE if BASELINE in trainers else trainers[0])


def names_to_compare(task: str, rows: pd.DataFrame, metrics: Metrics | None) -> list[str]:
    """The numbers to compare on a task, in the order asked for, else in that of its rows."""
    reported = [str(name) for name in rows["metric"].dropna().unique()]
    if isinstance(metrics, Mapping):
        return list(metrics.get(task, reported))
    return reported if metrics is None else [name for name in metrics if name in reported]


def _check_names(results: pd.DataFrame, metrics: Metrics | None) -> None:
    known = {str(name) for name in results["metric"].dropna().unique()}
    for name in () if metrics is None or isinstance(metrics, Mapping) else metrics:
        if name not in known:
            raise ComparisonError(f"no metric of the results is called {name!r}{suggestion(name, known)}")


def _family(task: str, metric: str, base: str, cells: Cells, alpha: float) -> list[dict[str, Any]]:
    direction = cells.directions.get((task, metric))
    sign = -1 if direction is False else 1
    entrants = [cell for cell in cells.all if cell.trainer != base]
    found = [cells.pairs(metric, cell, Cell(task, base, cell.decoder)) for cell in entrants]
    rows = [
        {
            "task": task,
            "metric": metric,
            "higher_is_better": direction,
            "decoder": cell.decoder,
            "trainer": cell.trainer,
            "baseline": base,
            "missing": _missing(pairs, cell.trainer, base),
            **_summary(pairs, sign),
        }
        for cell, pairs in zip(entrants, found, strict=True)
    ]
    if direction is None and (task, metric) in cells.directions:
        return [{**row, "test": "", "verdict": UNDIRECTED} for row in rows]
    tested = [index for index, pairs in enumerate(found) if len(pairs.own)]
    tests = sign_flips([found[index].own - found[index].baseline for index in tested])
    adjusted = holm([test.p for test in tests])
    attainable = holm([sign_flip_floor(len(found[index].own)) for index in tested])
    needed = seeds_needed(len(found), alpha)
    rows = [{**row, "test": "", "verdict": UNDECIDABLE, "seeds_needed": needed} for row in rows]
    for index, test, p_holm, best in zip(tested, tests, adjusted, attainable, strict=True):
        row = rows[index]
        row |= {"p": test.p, "p_holm": p_holm, "test": "exact" if test.exact else "drawn"}
        if best <= alpha:
            row |= {"verdict": _verdict(row["effect"], p_holm, alpha), "seeds_needed": None}
        if found[index].one_sided:
            row |= {"verdict": UNDECIDABLE, "seeds_needed": None}
    return rows


def _summary(pairs: Pairs, sign: int) -> dict[str, Any]:
    summary: dict[str, Any] = {"seeds": len(pairs.own)}
    if not len(pairs.own):
        return summary
    differences = sign * (pairs.own - pairs.baseline)
    low, high = t_interval(differences, LEVEL)
    return summary | {
        "mean": pairs.own.mean(),
        "baseline_mean": pairs.baseline.mean(),
        "sample_error": math.sqrt(np.square(pairs.own_errors).mean()),
        "baseline_sample_error": math.sqrt(np.square(pairs.baseline_errors).mean()),
        "effect": differences.mean(),
        "low": low,
        "high": high,
    }


def _missing(pairs: Pairs, trainer: str, base: str) -> str:
    """The seeds that are not paired, and what is missing there; empty if none."""
    lines = []
    for seed, reasons in pairs.lacking.items():
        lacking = [f"{name} {why}" for name, why in zip((trainer, base), reasons, strict=True) if why]
        lines.append(f"seed {seed}: {', '.join(lacking)}")
    return "; ".join(lines)


def _verdict(effect: float, p: float, alpha: float) -> str:
    if p > alpha:
        return SAME
    return BETTER if effect > 0 else WORSE
