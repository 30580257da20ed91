"""A long table from wherever it is: a results folder, one of its files, or a table in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import StoreError
from harness.places import opened
from harness.store import Store
from harness.tables import COLUMNS, long_table

REQUIRED = ("trainer", "task", "decoder", "seed", "metric", "value", "higher_is_better")
SUFFIXES = (".parquet", ".csv")


def read_results(source: str | Path | pd.DataFrame, side: str) -> pd.DataFrame:
    """Read a long table.

    Args:
        source: a results folder, a .parquet or .csv file with the columns of the long table, the URL of either, or the
            table itself. Columns that an older version did not write are filled with missing values; without
            ``status``, a row that names a metric counts as finished.
        side: what it is, for messages.

    Raises:
        StoreError: if there is none, it is damaged, or it is no long table.
    """
    if isinstance(source, pd.DataFrame):
        return _checked(source, f"the table of the {side}")
    path = opened(source)
    if path.is_dir():
        return Store(path).results()
    if path.suffix not in SUFFIXES:
        problem = "is no results folder and no .parquet or .csv file" if path.exists() else "does not exist"
        raise StoreError(f"{side} {path}: {problem}; give the --out of a run, or its results.parquet")
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    except (OSError, ValueError) as error:
        raise StoreError(f"{side} {path} cannot be read: {error}") from error
    return _checked(table, f"{side} {path}")


def specifications(source: str | Path | pd.DataFrame) -> list[Mapping[str, Any]]:
    """The resolved trials behind a results folder, as JSON data; none where the source is no folder."""
    if isinstance(source, pd.DataFrame) or not Path(source).is_dir():
        return []
    trials: list[Mapping[str, Any]] = Store(Path(source)).study()["trials"]
    return trials


def _read_csv(path: Path) -> pd.DataFrame:
    """Only an empty field is missing: a trainer may be called NA. Numbers are converted later, to the last bit."""
    texts = {name: "str" for name, kind in COLUMNS.items() if kind in ("str", "object", "float64")}
    return pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=[""])


def _checked(table: pd.DataFrame, where: str) -> pd.DataFrame:
    absent = [name for name in REQUIRED if name not in table.columns]
    if absent:
        raise StoreError(f"{where} is no long table: it has no column {', '.join(absent)}")
    try:
        typed = long_table(table)
    except (TypeError, ValueError) as error:
        raise StoreError(f"{where} is no long table: {error}") from error
    for name in ("trainer", "task", "decoder"):
        if typed[name].isna().any():
            raise StoreError(f"{where} is no long table: a row has no {name}")
    assumed = typed["metric"].map(lambda metric: "missing" if metric is None else "finished")
    typed["status"] = typed["status"].where(typed["status"].notna(), assumed)
    return typed
