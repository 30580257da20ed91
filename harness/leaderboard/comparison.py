"""What a comparison found, as tables and footnotes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from harness.aggregation import FLOOR
from harness.comparison import BETTER, LEVEL, UNDECIDABLE, WORSE
from harness.leaderboard.grids import Grid
from harness.leaderboard.numbers import ARROWS, number, short
from harness.statistics import EXACT_PAIRS, RESAMPLES

STYLES = {BETTER: "green", WORSE: "red", UNDECIDABLE: "dim"}
LEFT = frozenset({"metric", "trainer", "decoder", "verdict"})


def task_grids(comparison: pd.DataFrame) -> list[Grid]:
    """A table per task, a section per metric, a row per trainer and decoder.

    Args:
        comparison: from ``harness.comparison.compare``.
    """
    grids = []
    for task, rows in comparison.groupby("task", sort=False):
        base = rows["baseline"].iloc[0]
        columns = ["metric", "trainer", "decoder", "seeds", "mean", base, "effect", "seed error", "p", "verdict"]
        families = (family.to_dict("records") for _, family in rows.groupby("metric", sort=False))
        grids.append(Grid(f"task {task}", columns, LEFT, [[_task_row(row) for row in family] for family in families]))
    return grids


def aggregate_grid(aggregate: pd.DataFrame) -> Grid:
    """A row per trainer and decoder, over all tasks.

    Args:
        aggregate: from ``harness.aggregation.across_tasks``.
    """
    columns = ["trainer", "decoder", "seeds", "P(improvement)", "seed error", "IQM", "seed error"]
    rows = [
        [
            row["trainer"],
            row["decoder"],
            str(row["seeds"]),
            number(row["improvement"]),
            _interval(row["improvement_low"], row["improvement_high"], "{:.3f}".format),
            "-" if pd.isna(row["iqm"]) else number(row["iqm"]),
            _interval(row["iqm_low"], row["iqm_high"]),
        ]
        for row in aggregate.to_dict("records")
    ]
    return Grid(f"{aggregate['tasks'].iloc[0]} tasks", columns, LEFT, [rows])


def footnotes(comparison: pd.DataFrame, alpha: float) -> list[str]:
    """The test, its family and level, both kinds of error, what undecidable means, and what is missing.

    Args:
        comparison: from ``harness.comparison.compare``.
        alpha: level of its verdicts.
    """
    drawn = ""
    if (comparison["test"] == "drawn").any():
        drawn = f" up to {EXACT_PAIRS} pairs and from {RESAMPLES:,} drawn sign patterns above"
    notes = [
        "Means are over the matched seeds. ± is the sample error: one standard error over test samples within a "
        "policy (root mean square over seeds: more of them do not shrink it); 0 where the number is exact, ? where its "
        "error is unknown.",
        "effect: mean paired difference, above 0 if better (if larger, where there is no arrow). [low, high] is its "
        f"seed error: a {LEVEL:.0%} Student-t interval over training seeds.",
        f"p: two-sided sign-flip test of the pairs, exact{drawn}; after Holm's correction over the comparisons of one "
        f"metric on one task. Level of the verdicts: {alpha:g}.",
    ]
    undecidable = comparison.loc[comparison["verdict"] == UNDECIDABLE, "seeds_needed"]
    if undecidable.isna().any():
        notes.append("undecidable !: a finished trial has no finite number where the other side has one.")
    if undecidable.notna().any():
        needed = " or ".join(str(n) for n in sorted(undecidable.dropna().unique()))
        notes.append(
            "undecidable: n pairs give a p of at least 2/2^n, times the number of comparisons. No difference, however "
            f"large, could reach {alpha:g} with so few seeds; with {needed} it can."
        )
    return [*notes, *_missing(comparison)]


def aggregate_footnotes(aggregate: pd.DataFrame, numbers: Mapping[str, str], silent: Sequence[str]) -> list[str]:
    """What the numbers across tasks are made of.

    Args:
        aggregate: from ``harness.aggregation.across_tasks``.
        numbers: the number that speaks for each task.
        silent: tasks without such a number.
    """
    base = aggregate["baseline"].iloc[0]
    spoken = ", ".join(f"{metric} ({task})" for task, metric in numbers.items())
    notes = [
        f"Across tasks: {spoken}, and seeds finished on all of them. P(improvement): share of tasks and seeds on which "
        f"the trainer beats {base} of the same seed, with a {LEVEL:.0%} Clopper-Pearson interval that counts seeds."
    ]
    if silent:
        notes.append(f"! Not across tasks: {', '.join(silent)}, without a value of a number with a direction.")
    if aggregate["iqm"].notna().any():
        notes.append(
            f"IQM: interquartile mean over tasks and seeds of scores, {FLOOR} 0 and {base} of the same seed 1, with a "
            f"{LEVEL:.0%} bootstrap interval over seeds, from 5 seeds on."
        )
    refused = aggregate[aggregate["reason"] != ""]
    for (why, decoder), rows in refused.groupby(["reason", "decoder"], sort=False):
        notes.append(f"No IQM for {', '.join(rows['trainer'])} under {decoder}: {why}.")
    return notes


def _task_row(row: Mapping[Any, Any]) -> list[str]:
    needed = f", {row['seeds_needed']} seeds needed" if pd.notna(row["seeds_needed"]) else ""
    direction = row["higher_is_better"]
    return [
        row["metric"] + ("" if pd.isna(direction) else f" {ARROWS[bool(direction)]}"),
        row["trainer"],
        row["decoder"],
        str(row["seeds"]) + " !" * bool(row["missing"]),
        _with_error(row["mean"], row["sample_error"]),
        _with_error(row["baseline_mean"], row["baseline_sample_error"]),
        "-" if pd.isna(row["effect"]) else number(row["effect"]),
        _interval(row["low"], row["high"]),
        "" if needed or pd.isna(row["p_holm"]) else number(row["p_holm"]),
        row["verdict"] + needed,
    ]


def _with_error(value: float, error: float) -> str:
    return "-" if pd.isna(value) else f"{number(value)} ± {short(error)}"


def _interval(low: float, high: float, write: Callable[[float], str] = number) -> str:
    return "-" if pd.isna(low) else f"[{write(low)}, {write(high)}]"


def _missing(comparison: pd.DataFrame) -> Iterator[str]:
    """A line per trainer, decoder and reason; the metrics only where it does not hold for all of the task."""
    absent = comparison[comparison["missing"] != ""]
    for (task, trainer, decoder, why), rows in absent.groupby(["task", "trainer", "decoder", "missing"], sort=False):
        everywhere = comparison.loc[comparison["task"] == task, "metric"].nunique() == len(rows)
        where = "" if everywhere else f" ({', '.join(rows['metric'])})"
        yield f"! {task}, {trainer}, {decoder}{where}: not paired: {why}."
