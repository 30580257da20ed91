"""Whether the metrics measure right on this machine: every case with a known answer, computed here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.table import Table
from rich.text import Text

from harness.errors import HarnessError
from harness.progress import quiet
from harness.registry import METRICS
from harness.writing import write_file, writing

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = ["metric", "case", "measured", "expected", "tolerance", "verdict", "error"]
HOLDS, FAILS, UNKNOWN = "holds", "fails", "no known answer"
_STYLES = {HOLDS: "green", FAILS: "bold red", UNKNOWN: "dim"}
_SUFFIXES = (".csv", ".parquet")


def examine(names: Sequence[str] = ()) -> pd.DataFrame:
    """Run the known answers of metrics; one that raises is a row that fails, and the others go on.

    Args:
        names: as registered, or ``path/to/file.py:Class``; all that are registered if empty.

    Returns:
        A row per case: ``metric``, ``case``, ``measured``, ``expected``, ``tolerance`` (NaN where there is none),
        ``verdict`` (``HOLDS``, ``FAILS`` or ``UNKNOWN``) and ``error`` (empty where nothing was raised).

    Raises:
        RegistryError: if a name that was asked for is unknown.
    """
    for name in names:
        METRICS.entry(name)
    with quiet():
        return _table([row for name in dict.fromkeys(names or METRICS.listing()) for row in _attempt(name, _answers)])


def with_features(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Add a row: MAUVE between two random halves of features, which is what real text scores against real text.

    Args:
        table: from ``examine``.
        path: a .npy file of a float array of shape ``(n, d)``.

    Raises:
        HarnessError: if the array cannot be read, or MAUVE means nothing on it.
    """
    features = _read(path)

    def halves(name: str) -> Iterator[dict[str, Any]]:
        from metrics.mauve_features import mauve_from_features

        order, half = np.random.default_rng(0).permutation(len(features)), len(features) // 2
        parts = features[order[:half]], features[order[half : 2 * half]]
        score = mauve_from_features({"half": parts[0]}, parts[1])["half"].mauve
        case = f"{path.name}: {half} rows against {half} others, {features.shape[1]} dimensions"
        yield {"metric": name, "case": case, "measured": score, "verdict": UNKNOWN}

    return pd.concat([table, _table(_attempt("mauve", halves))], ignore_index=True)


def layout(table: pd.DataFrame) -> Table:
    """The table for the terminal; what was raised is in the place of the case."""
    shown = Table("metric", "case")
    for column in ("measured", "expected", "tolerance"):
        shown.add_column(column, justify="right", no_wrap=True)
    shown.add_column("verdict", no_wrap=True)
    for row in table.to_dict("records"):
        numbers = ("" if pd.isna(row[name]) else f"{row[name]:.10g}" for name in ("measured", "expected", "tolerance"))
        verdict = Text(row["verdict"], style=_STYLES[row["verdict"]])
        shown.add_row(Text(row["metric"]), Text(row["case"] or row["error"]), *numbers, verdict)
    return shown


def check_suffix(path: Path) -> None:
    """Raise HarnessError unless ``write`` knows the suffix."""
    if path.suffix not in _SUFFIXES:
        raise HarnessError(f"--out {path}: the name must end in {' or '.join(_SUFFIXES)}")


def write(table: pd.DataFrame, path: Path) -> None:
    """Write the table as CSV or Parquet, whole.

    Raises:
        StoreError: if the file cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, table.to_parquet if path.suffix == ".parquet" else lambda to: table.to_csv(to, index=False))


def _answers(name: str) -> Iterator[dict[str, Any]]:
    answers = METRICS.load(name).known_answers()
    for answer in answers:
        numbers = {key: float(getattr(answer, key)) for key in ("measured", "expected", "tolerance")}
        yield {"metric": name, "case": answer.case, **numbers, "verdict": HOLDS if answer.holds else FAILS}
    if not answers:
        yield {"metric": name, "case": "it has no known answers", "verdict": UNKNOWN}


def _attempt(name: str, cases: Any) -> list[dict[str, Any]]:
    try:
        return list(cases(name))
    except (Exception, SystemExit) as error:
        return [{"metric": name, "verdict": FAILS, "error": f"{type(error).__name__}: {error}"}]


def _table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame([{"case": "", "error": "", **row} for row in rows], columns=COLUMNS)
    return table.astype(dict.fromkeys(("measured", "expected", "tolerance"), "float64"))


def _read(path: Path) -> NDArray[np.float32]:
    from metrics.mauve import Mauve

    least = 2 * Mauve.minimum_n
    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise HarnessError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # of a damaged file numpy passes on whatever its parsers raise
        raise HarnessError(
            f"{path} is no .npy file of numbers, or is damaged: write one with numpy.save(path, features), "
            "floats of shape (n, d)"
        ) from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        found = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else "an archive of arrays"
        raise HarnessError(f"{path} must hold floats of shape (n, d), not {found}")
    if len(array) < least or not array.shape[1]:
        raise HarnessError(f"{path} must hold at least {least} rows of at least one number, not {array.shape}")
    with np.errstate(over="ignore"):
        features: NDArray[np.float32] = array.astype(np.float32)
    broken = np.flatnonzero(~np.isfinite(features).all(1))
    if len(broken):
        raise HarnessError(
            f"{path}: {len(broken)} of {len(features)} rows are not finite in float32, first {broken[0]}"
        )
    if (features == features[0]).all():
        raise HarnessError(f"{path}: all {len(features)} rows are equal, so there is nothing to cluster")
    return features
