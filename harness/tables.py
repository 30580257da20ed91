"""The long table: a row per number, with the clocks of the trial that it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from harness.digests import verified
from harness.errors import StoreError

COLUMNS: dict[str, str] = {
    "study": "str",
    "trial": "str",
    "trainer": "str",
    "task": "str",
    "decoder": "str",
    "seed": "int64",
    "step": "Int64",
    "metric": "object",
    "value": "float64",
    "sample_error": "float64",
    "n": "Int64",
    "higher_is_better": "boolean",
    "tokens": "Int64",
    "generated_tokens": "Int64",
    "flops": "float64",
    "seconds": "float64",
    "status": "str",
}
"""Columns and their types. ``metric`` is None and ``value`` NaN where a trial failed or is missing, or has no number;
``sample_error`` is the standard error of ``value`` over test samples, 0 where the value is exact and NaN where the
error is unknown; ``n`` counts generations; ``tokens``, ``generated_tokens``, ``flops`` and ``seconds`` are what
training spent; ``step`` is the last optimiser step."""

CLOCKS = ("step", "tokens", "generated_tokens", "flops", "seconds")
"""Columns that a budget can be counted in."""

SERIES_COLUMNS: dict[str, str] = {
    "trial": "str",
    "trainer": "str",
    "task": "str",
    "seed": "int64",
    "decoder": "str",
    "metric": "str",
    "series": "str",
    "x": "float64",
    "y": "float64",
}
"""Columns and types of the curves that metrics report, a row per point, in order."""


def long_table(rows: pd.DataFrame | Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Give a table the columns and types of the long table."""
    table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    table = table.reindex(columns=list(COLUMNS)).astype(COLUMNS)
    table["metric"] = table["metric"].where(table["metric"].notna(), None)
    return table


def series_table(rows: pd.DataFrame | Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Give a table the columns and types of the curves."""
    table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    return table.reindex(columns=list(SERIES_COLUMNS)).astype(SERIES_COLUMNS)


def absent_rows(trial: Mapping[str, Any], status: str) -> pd.DataFrame:
    """The rows of a trial without results, one per decoder.

    Args:
        trial: its entry in ``study.json``.
        status: "failed" or "missing".
    """
    common = {
        "study": trial["study"],
        "trial": trial["identity"],
        "trainer": trial["trainer"]["name"],
        "task": trial["task"]["name"],
        "seed": trial["seed"],
        "status": status,
    }
    return long_table([{**common, "decoder": decoder} for decoder in trial["decoders"]])


def read_table(path: Path, *columns: str) -> pd.DataFrame:
    """Read a Parquet table of a trial, see ``read_arrow``."""
    return stacked([read_arrow(path, *columns)])


def read_arrow(path: Path, *columns: str) -> pa.Table:
    """Read a Parquet table of a trial as Arrow has it, which takes a tenth of the time for a small one.

    Args:
        path: the file.
        columns: names that it must have.

    Raises:
        StoreError: if it is absent, damaged or edited, or lacks a column.
    """
    try:
        with parquet.ParquetFile(pa.BufferReader(verified(path))) as file:
            table = file.read(use_threads=False)
        if absent := [name for name in columns if name not in table.column_names]:
            raise ValueError(f"it has no column {', '.join(absent)}")
        return table
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}): delete {path.parent} and run the study again") from error


def stacked(tables: Sequence[pa.Table]) -> pd.DataFrame:
    """One data frame of some tables, in order, with the columns of all; at least one."""
    table: pd.DataFrame = pa.concat_tables(tables, promote_options="permissive").to_pandas()
    return table


def unequal_steps(table: pd.DataFrame) -> list[str]:
    """A sentence for each task whose trainers took different numbers of optimiser steps, the untrained left out.

    Args:
        table: a long table.
    """
    taken = table[table["metric"].notna() & (table["step"] > 0)]
    found = []
    for task, rows in taken.groupby("task", sort=False):
        steps = rows.groupby("trainer", sort=False)["step"].mean()
        if len(set(steps)) > 1:
            each = ", ".join(f"{trainer} {number:.0f}" for trainer, number in steps.items())
            found.append(f"Optimiser steps on {task} differ: {each}.")
    return found
