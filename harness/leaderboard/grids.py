"""Tables of texts, for the terminal and as markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Grid:
    """A table of texts.

    Attributes:
        title: what is above it.
        columns: names of the columns.
        left: those that are flush left; the others hold numbers.
        sections: rows in groups that belong together, each a text per column.
    """

    title: str
    columns: Sequence[str]
    left: frozenset[str]
    sections: Sequence[Sequence[Sequence[str]]]


def layout(tables: Iterable[Grid], notes: Iterable[str], styles: Mapping[str, str]) -> Group:
    """Tables and notes for the terminal; what a section repeats in its first column is left out.

    Args:
        tables: to show.
        notes: lines below them.
        styles: rich styles of the last column, by the beginning of its text.
    """
    return Group(*(_rich(table, styles) for table in tables), Text("\n".join(notes), style="dim"))


def markdown(tables: Iterable[Grid], notes: Iterable[str]) -> str:
    """Tables and notes as GitHub's markdown."""
    lines = []
    for table in tables:
        rule = [":---" if column in table.left else "---:" for column in table.columns]
        rows = [row for section in table.sections for row in section]
        lines += [f"### {escaped(table.title)}", "", _line(map(escaped, table.columns)), _line(rule)]
        lines += [*(_line(map(escaped, row)) for row in rows), ""]
    return "\n".join([*lines, *(f"- {escaped(note)}" for note in notes), ""])


def _rich(grid: Grid, styles: Mapping[str, str]) -> Table:
    table = Table(title=Text(grid.title), title_justify="left", title_style="bold")
    for column in grid.columns:
        table.add_column(Text(column), no_wrap=True, justify="left" if column in grid.left else "right")
    for section in grid.sections:
        before = ""
        for first, *middle, last in section:
            style = next((style for start, style in styles.items() if last.startswith(start)), "")
            table.add_row(Text("" if first == before else first), *map(Text, middle), Text(last, style=style))
            before = first
        table.add_section()
    return table


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def escaped(text: str) -> str:
    """Text on one line that markdown does not read as marks, nor a browser as tags."""
    return re.sub(r"([\\`*_\[\]<>|&#~])", r"\\\1", " ".join(text.split()))
