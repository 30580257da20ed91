"""What a gate found, as a table on the terminal and as markdown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from harness.gating.noninferiority import Verdict
from harness.leaderboard.grids import escaped
from harness.leaderboard.numbers import ARROWS

if TYPE_CHECKING:
    from harness.gate import GateReport

STYLES = {Verdict.OK: "green", Verdict.REGRESSED: "bold red", Verdict.INCONCLUSIVE: "yellow"}
SYMBOLS = {Verdict.OK: "✅", Verdict.REGRESSED: "❌", Verdict.INCONCLUSIVE: "❔"}
TEXTS = ("task", "trainer", "decoder", "metric")
MOST_CHANGES = 20
"""Lines on changed settings that are shown; the report holds all."""


def layout(report: GateReport) -> Group:
    """Lay out a report for the terminal."""
    table = Table(title="gate", title_justify="left", title_style="bold")
    for index, name in enumerate(headings(report)):
        table.add_column(name, no_wrap=True, justify="left" if index < len(TEXTS) else "right")
    for row in rows_of(report):
        *cells, verdict = map(Text, cells_of(row))
        table.add_row(*cells, Text(verdict.plain, style=STYLES[Verdict(row["verdict"])]))
    lines = [Text(line, style="dim") for line in details(report)]
    return Group(table, *lines, Text(report.summary, style=STYLES[report.verdict]))


def markdown(report: GateReport) -> str:
    """A report as GitHub's markdown: a heading with the verdict, a table, and what is to be said on it."""
    rows = [headings(report), *(cells_of(row) for row in rows_of(report))]
    for row in rows[1:]:
        row[-1] = f"{SYMBOLS[Verdict(row[-1])]} {row[-1]}"
    head, *body = ["| " + " | ".join(map(escaped, row)) + " |" for row in rows]
    rule = "|" + " --- |" * len(TEXTS) + " ---: |" * (len(rows[0]) - len(TEXTS) - 1) + " --- |"
    notes = [f"- {escaped(line)}" for line in details(report)]
    title = f"### {SYMBOLS[report.verdict]} seqmatch gate {report.summary}"
    return "\n".join([title, "", head, rule, *body, "", *notes, *([""] if notes else [])])


def as_lines(report: GateReport) -> str:
    """A report as plain text without a frame, for the message of a failed test."""
    rows = [headings(report), *(cells_of(row) for row in rows_of(report))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([f"gate {report.summary}", *lines, *details(report)])


def headings(report: GateReport) -> list[str]:
    """Names of the columns; a bound is one-sided."""
    level = f"{100 * report.level:g}%"
    return [*TEXTS, "seeds", "baseline", "candidate", "better by", f"{level} low", f"{level} high", "margin", "verdict"]


def cells_of(row: dict[str, Any]) -> list[str]:
    """A row of the report as texts, in the order of ``headings``."""
    arrow = ARROWS[bool(row["higher_is_better"])]
    allowed = row["margin_text"]
    if allowed.endswith("%") and math.isfinite(row["margin"]):
        allowed += f" = {row['margin']:.3g}"
    return [
        *(row[name] for name in TEXTS[:-1]),
        f"{row['metric']} {arrow}",
        str(row["seeds"]),
        *(_number(row[name], "") for name in ("baseline_mean", "mean")),
        *(_number(row[name], "+") for name in ("effect", "low", "high")),
        allowed,
        str(row["verdict"]),
    ]


def rows_of(report: GateReport) -> list[dict[str, Any]]:
    """The rows of the report, as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in report.table.to_dict("records")]


def place(row: dict[str, Any]) -> str:
    """Where a row of the report is, in words."""
    return f"{row['metric']} of {row['trainer']} on {row['task']} ({row['decoder']})"


def details(report: GateReport) -> list[str]:
    """What is to be said on the rows, the sides and their settings, a line each."""
    lines = [f"warning: {line}" for line in report.warnings]
    for row in rows_of(report):
        lines += [f"{place(row)}: {row['reason']}"] if row["reason"] else []
        lines += [f"{place(row)}: paired seeds {row['paired'] or 'none'}; {row['missing']}"] if row["missing"] else []
    lines += [f"changed: {line}" for line in report.changes[:MOST_CHANGES]]
    more = len(report.changes) - MOST_CHANGES
    return [*lines, f"changed: and {more} more settings"] if more > 0 else lines


def _number(value: float, sign: str) -> str:
    return f"{value:{sign}.4g}" if math.isfinite(value) else "-"
