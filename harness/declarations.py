"""What every metric declares of its numbers: direction, range, unit, least number of generations, and needs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING

from rich.box import MARKDOWN
from rich.table import Table

from harness.errors import RegistryError
from harness.leaderboard.plain import as_text
from harness.registry import METRICS

if TYPE_CHECKING:
    from metrics.base import Value

_BETTER = {True: "higher", False: "lower", None: ""}


def numbers() -> str:
    """A Markdown table of the numbers of all registered metrics; a metric that cannot be loaded is a row that says so.

    Names that differ only in a number at their end and declare the same share a row.
    """
    table = Table("metric", "number", "better", "range", "unit", "least n", "needs", "columns", box=MARKDOWN)
    for shown, entry in METRICS.listing().items():
        try:
            metric = METRICS.load_entry(entry)
        except RegistryError as error:
            table.add_row(shown, str(error))
            continue
        facts = str(metric.minimum_n), ", ".join(sorted(metric.needs)), ", ".join(metric.columns)
        for names, value in _grouped(metric.values):
            table.add_row(shown, names, _BETTER[value.higher_is_better], _range(value), value.unit, *facts)
    return as_text(table).strip() + "\n"


def _range(value: Value) -> str:
    low, high = ("∞" if bound == math.inf else f"{bound:.4g}" for bound in value.range)
    return f"{low} to {high}"


def _grouped(values: Mapping[str, Value]) -> Iterator[tuple[str, Value]]:
    """Names with their values, ``rep_2, rep_3, rep_4`` as ``rep_2 to rep_4``."""
    for (_, value), group in groupby(values.items(), key=lambda item: (re.sub(r"\d+$", "", item[0]), item[1])):
        names = [name for name, _ in group]
        yield names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}", value
