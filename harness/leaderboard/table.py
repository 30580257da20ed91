"""The leaderboard on the terminal: a table per task, a row per trainer and decoder, the headline numbers as columns.

Every cell shows the mean over seeds and, below it, the value of each seed (if there are several). A seed that failed
or is missing is written out in its place, and how many seeds a mean covers is said beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from harness.leaderboard.cells import absence
from harness.leaderboard.numbers import ARROWS, number
from harness.tables import unequal_steps

if TYPE_CHECKING:
    import pandas as pd


def leaderboard(results: pd.DataFrame, headlines: Mapping[str, Sequence[str]] | None = None) -> Group:
    """Lay out the long table.

    Args:
        results: the long table; tasks, trainers and decoders are shown in its order.
        headlines: names of the numbers to show, by task; all numbers of a task that is not in it.

    Returns:
        A rich table per task, and a footnote.
    """
    parts: list[Table | Text] = []
    for task in results["task"].unique():
        rows = results[results["task"] == task]
        names = (headlines or {}).get(task) or list(rows["metric"].dropna().unique())
        parts.append(_table(task, rows, names))
    parts.append(Text(_footnote(results), style="dim"))
    return Group(*parts)


def _table(task: str, rows: pd.DataFrame, names: Sequence[str]) -> Table:
    seeds = sorted(rows["seed"].unique())
    table = Table(title=f"task {task}", title_justify="left", title_style="bold")
    for column in ("trainer", "decoder"):
        table.add_column(column, no_wrap=True)
    table.add_column("seeds", justify="right", no_wrap=True)
    for name in names:
        directions = rows.loc[rows["metric"] == name, "higher_is_better"].dropna()
        arrow = f" {ARROWS[bool(directions.iloc[0])]}" if len(directions) else ""
        table.add_column(f"{name}{arrow}", justify="right", no_wrap=True)
    for trainer in rows["trainer"].unique():
        mine = rows[rows["trainer"] == trainer]
        for decoder in mine["decoder"].unique():
            cells = mine[mine["decoder"] == decoder]
            table.add_row(trainer, decoder, _seeds(cells, seeds), *(_cell(cells, name, seeds) for name in names))
    return table


def _seeds(cells: pd.DataFrame, seeds: Sequence[int]) -> Text:
    """How many seeds are finished, of how many."""
    finished = cells.loc[cells["status"] == "finished", "seed"].nunique()
    if finished == len(seeds):
        return Text(str(finished))
    return Text(f"{finished} of {len(seeds)}", style="red")


def _cell(cells: pd.DataFrame, name: str, seeds: Sequence[int]) -> Text:
    """Mean over the seeds that have a value, then the value of each seed, or why it has none; one seed is itself."""
    mine = cells[cells["metric"] == name].set_index("seed")
    found = mine["value"].dropna()
    status = {**cells.groupby("seed")["status"].first(), **mine["status"]}
    singles = [number(found[seed]) if seed in found.index else absence(status.get(seed)) for seed in seeds]
    if len(seeds) == 1:
        return Text(singles[0], style="red" if found.empty else "")
    if found.empty:
        return Text("-\n") + Text(" ".join(singles), style="red")
    complete = len(found) == len(seeds)
    mean = number(float(found.mean())) + ("" if complete else f" (of {len(found)})")
    return Text(f"{mean}\n", style="" if complete else "red") + Text(" ".join(singles), style="dim")


def _footnote(results: pd.DataFrame) -> str:
    seeds = results["seed"].nunique()
    means = f"Means over {seeds} matched seeds, the seeds' values below; `seqmatch compare` tests the differences."
    if seeds == 1:
        means = "One seed only: differences between rows may be noise, and cannot be tested."
    absent = [f"{count} trial{'s' if count != 1 else ''} {status}." for status, count in _absent(results)]
    return "\n".join([means, *unequal_steps(results), *absent])


def _absent(results: pd.DataFrame) -> Iterable[tuple[str, int]]:
    for status in ("failed", "missing"):
        count = results.loc[(results["status"] == status) & results["metric"].isna(), "trial"].nunique()
        if count:
            yield status, count
