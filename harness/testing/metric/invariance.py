"""What must not matter to a metric: order, index and further columns of the table, the way it was stored, the cache."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from harness.testing.battery import require
from harness.testing.metric.battery import METRIC
from harness.testing.metric.subject import MetricSubject, differences

if TYPE_CHECKING:
    import pandas as pd


@METRIC.check()
def the_order_of_rows_does_not_matter(subject: MetricSubject) -> None:
    """Generations in another order give the same numbers, up to rounding."""
    _require_same(
        subject,
        subject.generations().sample(frac=1, random_state=3).reset_index(drop=True),
        "with its rows in another order",
        "sum with math.fsum or sort first, and draw nothing by position",
    )


@METRIC.check()
def the_index_of_rows_does_not_matter(subject: MetricSubject) -> None:
    """Generations with other, and repeated, index labels give the same numbers."""
    table = subject.generations()
    table.index = [label // 2 + 1000 for label in range(len(table))]
    _require_same(subject, table, "with another index", "address rows by place, with iloc or zip")


@METRIC.check()
def further_columns_do_not_matter(subject: MetricSubject) -> None:
    """Further columns, and another order of columns, change nothing."""
    table = subject.generations()
    table = table[list(table.columns[::-1])].assign(note="x", score=float("nan"), sample=range(len(table)))
    _require_same(subject, table, "with further columns", "read the columns that are declared, by name")


@METRIC.check()
def only_declared_columns_are_read(subject: MetricSubject) -> None:
    """The numbers are the same without the columns that the metric does not declare."""
    table = subject.generations()
    declared = [column for column in subject.plugin.cls.columns if column in table]
    _require_same(subject, table[declared], f"with the columns {declared} alone", "name in columns all that is read")


@METRIC.check()
def stored_generations_give_equal_numbers(subject: MetricSubject) -> None:
    """Generations that were written to Parquet and read again, whose lists are arrays then, give the same numbers."""
    import pandas as pd

    stored = io.BytesIO()
    subject.generations().to_parquet(stored)
    _require_same(subject, pd.read_parquet(stored), "read from Parquet", "take token ids as lists and as numpy arrays")


@METRIC.check()
def the_cache_changes_nothing(subject: MetricSubject) -> None:
    """Without a cache, with an empty one and with a filled one the numbers are the same."""
    expected = subject.compute(context=subject.context(cache=None))
    with tempfile.TemporaryDirectory() as folder:
        for what in ("an empty", "a filled"):
            found = subject.compute(context=subject.context(cache=Path(folder) / "features"))
            changed = differences(expected, found)
            require(not changed, f"without a cache and with {what} one it reports {changed}: store what is computed")


def _require_same(subject: MetricSubject, table: pd.DataFrame, how: str, advice: str) -> None:
    expected = subject.ordinary
    try:
        found = subject.compute(table)
    except Exception as error:
        require(False, f"the table {how}: it raises {type(error).__name__}: {error}; {advice}")
    changed = differences(expected, found)
    require(not changed, f"the table {how} gives other numbers, {changed}: {advice}")
