"""The leaderboard as markdown: the headline numbers of every task, with both errors and the verdict."""

from __future__ import annotations

from collections.abc import Sequence

from harness.leaderboard.cells import Cell, TaskTable
from harness.leaderboard.grids import Grid, markdown
from harness.leaderboard.marks import MARKS
from harness.leaderboard.numbers import number, short
from harness.leaderboard.records import Absent

LEGEND = (
    "mean ±seed error ±sample error: standard errors, over training seeds and over one trial's test samples; "
    "? where it is not known",
)


def leaderboard_markdown(tables: Sequence[TaskTable], absent: Sequence[Absent], note: str = "") -> str:
    """Tables of the headline numbers, and below them a note and the trials without a result."""
    said = {cell.verdict.text for table in tables for row in table.rows for cell in row.cells.values() if cell.verdict}
    baselines = sorted({table.baseline for table in tables if table.baseline})
    marks = [f"{mark} {text}" for text, mark in MARKS.items() if text in said]
    against = [f"against {', '.join(baselines)}: {', '.join(marks)}"] if marks else []
    gone = [f"{trial.label} {trial.status}{trial.reason and f': {trial.reason}'}" for trial in absent]
    return markdown(map(_grid, tables), [*LEGEND, *against, *filter(None, [note]), *gone])


def _grid(table: TaskTable) -> Grid:
    columns = [column for column in table.columns if column.headline]
    rows = [
        [
            row.trainer,
            row.decoder,
            str(row.finished) if row.finished == len(table.seeds) else f"{row.finished} of {len(table.seeds)}",
            *(_text(row.cells[column.metric]) for column in columns),
        ]
        for row in table.rows
    ]
    names = ["trainer", "decoder", "seeds", *(f"{column.metric} {column.arrow}".strip() for column in columns)]
    return Grid(f"task {table.task}", names, frozenset({"trainer", "decoder"}), [rows])


def _text(cell: Cell) -> str:
    if not cell.by_seed:
        return ", ".join(sorted(set(cell.absent.values())))
    mark = MARKS.get(cell.verdict.text, "") if cell.verdict else ""
    part = "" if cell.complete else f" (of {len(cell.by_seed)} seeds)"
    return f"{number(cell.mean)} ±{short(cell.seed_error)} ±{short(cell.sample_error)}{part} {mark}".strip()
