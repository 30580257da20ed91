"""Differences of systems on the terminal: a table per task and number, a row per pair, the seeds side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

PAIR = ["first_trainer", "first_decoder", "second_trainer", "second_decoder"]
FOOTNOTE = """\
Difference: the first system less the second. p: permutation test over the samples of two trained policies (sample
error). It says whether these two policies differ, not whether one trainer is better: that is a question over training
seeds. p_holm: adjusted for all pairs of the task and seed (Holm)."""


def differences(table: pd.DataFrame) -> Group:
    """Lay out the table of differences.

    Args:
        table: columns of ``harness.joint_measuring.COLUMNS``.

    Returns:
        A rich table per task and number, and a footnote.
    """
    parts: list[Table | Text] = [
        _table(f"task {task}, differences in {metric}", rows)
        for (task, metric), rows in table.groupby(["task", "metric"], sort=False)
    ]
    return Group(*parts, Text(FOOTNOTE, style="dim")) if parts else Group(Text("There are no two systems to compare."))


def _table(title: str, rows: pd.DataFrame) -> Table:
    seeds = sorted(rows["seed"].unique())
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in ("first", "second"):
        table.add_column(column, no_wrap=True)
    for seed in seeds:
        for column in ("difference", "p", "p_holm"):
            table.add_column(f"{column}\nseed {seed}", justify="right", no_wrap=True)
    for (first, one, second, other), pair in rows.groupby(PAIR, sort=False):
        found = pair.set_index("seed")
        cells = [cell for seed in seeds for cell in (_cells(found.loc[seed]) if seed in found.index else ("-",) * 3)]
        table.add_row(f"{first} {one}", f"{second} {other}", *cells)
    return table


def _cells(row: pd.Series) -> tuple[str, str, str]:
    return f"{row['difference']:+.3g}", f"{row['p_value']:.3g}", f"{row['p_holm']:.3g}"
