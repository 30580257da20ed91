"""The leaderboard of a task as its template shows it: every number a text, every cell with its index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.comparison import BETTER, SAME, UNDECIDABLE, WORSE
from harness.leaderboard.cells import Cell, Column, Row, TaskTable
from harness.leaderboard.marks import MARKS
from harness.leaderboard.numbers import number, short
from harness.leaderboard.strips import Strip, strip


@dataclass(frozen=True)
class CellView:
    """A cell; ``index`` is its place in ``Cells.items``, ``seeds`` the value of each seed and whether it is absent.

    Only the headline numbers have a ``strip``, since a page can hold thousands of others.
    """

    index: int
    sort: str
    mean: str
    partial: str
    verdict: str
    headline: bool
    seed_error: str
    sample_error: str
    seeds: tuple[tuple[str, bool], ...]
    strip: Strip | None


@dataclass(frozen=True)
class RowView:
    """A row; ``finished`` of ``seeds`` trials are finished."""

    trainer: str
    decoder: str
    finished: int
    seeds: int
    cells: tuple[CellView, ...]


@dataclass(frozen=True)
class VerdictLine:
    """A number, and the rows that each verdict is said of."""

    name: str
    groups: tuple[tuple[str, ...], ...]


@dataclass
class Cells:
    """What a page tells of each cell on demand, as JSON.

    Attributes:
        trials: index of a trial by identity.
        rows: ``[task, trainer, decoder]`` of every row.
        items: an object per cell: ``row`` (index), ``metric, mean, seed_error, sample_error, n, verdict`` and
            ``seeds``, a list of ``[seed, value or why there is none, index of the trial or null]``.
    """

    trials: dict[str, int]
    rows: list[list[str]] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)

    def add(self, table: TaskTable, row: Row, column: Column, cell: Cell) -> int:
        """Keep a cell, and return its index."""
        names = [table.task, row.trainer, row.decoder]
        if self.rows[-1:] != [names]:
            self.rows.append(names)
        present = [(seed, number(value), self.trials.get(cell.trials[seed])) for seed, value in cell.by_seed.items()]
        absent = [(seed, text, None) for seed, text in cell.absent.items()]
        self.items.append(
            {
                "row": len(self.rows) - 1,
                "metric": f"{column.metric} {column.arrow}".strip(),
                "mean": _mean(cell),
                "seed_error": short(cell.seed_error),
                "sample_error": short(cell.sample_error),
                "n": cell.n,
                "verdict": sentence(cell),
                "seeds": sorted([*present, *absent], key=lambda each: each[0]),
            }
        )
        return len(self.items) - 1


def row_views(table: TaskTable, cells: Cells) -> list[RowView]:
    """The rows of a task."""
    return [
        RowView(
            row.trainer,
            row.decoder,
            row.finished,
            len(table.seeds),
            tuple(_view(table, row, column, cells) for column in table.columns),
        )
        for row in table.rows
    ]


def _view(table: TaskTable, row: Row, column: Column, cells: Cells) -> CellView:
    cell = row.cells[column.metric]
    seeds = [(seed, number(value), False) for seed, value in cell.by_seed.items()]
    seeds += [(seed, text, True) for seed, text in cell.absent.items()]
    return CellView(
        index=cells.add(table, row, column, cell),
        sort=repr(cell.mean) if cell.by_seed else "",
        mean=number(cell.mean) if cell.by_seed else "-",
        partial="" if cell.complete else f"{len(cell.by_seed)} of {len(table.seeds)} seeds",
        verdict=cell.verdict.text if cell.verdict and cell.verdict.text in MARKS else "",
        headline=column.headline,
        seed_error=short(cell.seed_error),
        sample_error=short(cell.sample_error),
        seeds=tuple((text, absent) for _, text, absent in sorted(seeds)),
        strip=strip(cell, column, _baseline(table, row, column)) if cell.by_seed and column.headline else None,
    )


def _baseline(table: TaskTable, row: Row, column: Column) -> float | None:
    """Mean of the baseline under the decoder of a row."""
    for other in table.rows:
        if other.trainer == table.baseline and other.decoder == row.decoder:
            return other.cells[column.metric].mean
    return None


def _mean(cell: Cell) -> str:
    if not cell.by_seed:
        return "no value"
    return number(cell.mean) + ("" if cell.complete else f", of {len(cell.by_seed)} seeds only")


def sentence(cell: Cell) -> str:
    """A verdict in words; empty where there is none."""
    said = cell.verdict
    if said is None:
        return ""
    if said.text not in MARKS:
        return f"{said.text}: {number(said.effect)} from {said.baseline}"
    link = {BETTER: "than", WORSE: "than", SAME: "from"}.get(said.text, "against")
    effect = f"effect {number(said.effect)}, 95 % interval {number(said.low)} to {number(said.high)}"
    needed = f", at least {said.seeds_needed} seeds needed" if said.seeds_needed else ""
    return f"{said.text} {link} {said.baseline} ({effect}, Holm-adjusted p {number(said.p)}{needed})"


def verdict_lines(table: TaskTable) -> tuple[list[str], list[VerdictLine]]:
    """The headline numbers of a task, with its rows grouped by what is known of them.

    Returns:
        The verdicts that occur, in the order of the groups, and a line per number; nothing where all is undecidable.
    """
    decoders = {row.decoder for row in table.rows}
    found = dict[str, dict[str, list[str]]]()
    for column in table.columns:
        for row in table.rows if column.headline else ():
            said = row.cells[column.metric].verdict
            if said is not None and said.text in MARKS:
                groups = found.setdefault(f"{column.metric} {column.arrow}".strip(), {})
                groups.setdefault(said.text, []).append(_row_name(row, decoders))
    names = [text for text in MARKS if any(text in groups for groups in found.values())]
    if names == [UNDECIDABLE]:
        return [], []
    return names, [
        VerdictLine(name, tuple(tuple(groups.get(text, ())) for text in names)) for name, groups in found.items()
    ]


def _row_name(row: Row, decoders: set[str]) -> str:
    return row.trainer if len(decoders) == 1 else f"{row.trainer}, {row.decoder}"


def undecided(table: TaskTable) -> str:
    """Why verdicts are undecidable, and how many seeds they take; empty where all is decided."""
    verdicts = [cell.verdict for row in table.rows for cell in row.cells.values()]
    needed = [said.seeds_needed for said in verdicts if said and said.text == UNDECIDABLE and said.seeds_needed]
    if not needed:
        return ""
    return (
        f"Undecidable: with the {len(table.seeds)} seeds here no difference, however large, can be told from chance "
        f"at the level of 0.05. It takes at least {max(needed)} matched seeds."
    )


def summary(table: TaskTable) -> str:
    """One line about a task."""
    seeds: Sequence[int] = table.seeds
    counts = {cell.n for row in table.rows for cell in row.cells.values() if cell.n}
    samples = f", {min(counts)} test samples each" if len(counts) == 1 else ""
    decoders = {row.decoder for row in table.rows}
    decoder = f", decoder {min(decoders)}" if len(decoders) == 1 else ""
    return f"{len(seeds)} matched seed{'s' if len(seeds) != 1 else ''}{samples}{decoder}"
