"""One trial run once more, and its numbers beside those on record."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scipy.stats import norm

from harness.entries import Entry
from harness.errors import RequestError, StoreError
from harness.execution import execute
from harness.leaderboard import grids
from harness.leaderboard.grids import Grid
from harness.places import opened
from harness.preflight import check_trials
from harness.progress import Reporter, display, quiet
from harness.provenance import library_versions, machine, source_digest
from harness.registry import METRICS, TASKS, TRAINERS
from harness.store import Store
from harness.tables import long_table
from harness.trial import Component, Trial
from harness.trial_log import Log

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Group

TOLERANCE = 0.05
"""Relative difference up to which a number is close."""
FALSE_ALARMS = 0.05
"""Chance that sampling alone makes any number of a trial different, where all sample errors are known."""


class Closeness(enum.StrEnum):
    """How near a number came to that on record."""

    IDENTICAL = "identical"
    CLOSE = "close"
    DIFFERENT = "different"


_NUMBERS = ["recorded", "again", "sample_error"]
_COLUMNS = ["decoder", "metric", *_NUMBERS, "closeness"]
_STYLES = {"identical": "green", "close": "yellow", "different": "bold red"}


@dataclass(frozen=True)
class Reproduction:
    """A trial run again.

    Attributes:
        label: of the trial.
        table: a row per decoder and metric: ``decoder, metric, recorded, again, sample_error, closeness``.
        changed: what has changed since, in words; with nothing changed all numbers should be identical.
    """

    label: str
    table: pd.DataFrame
    changed: tuple[str, ...]

    @property
    def closeness(self) -> Closeness:
        """Of the number that came least near."""
        return max(map(Closeness, self.table["closeness"]), key=list(Closeness).index)


def reproduce(folder: str | Path, name: str, tolerance: float = TOLERANCE) -> Reproduction:
    """Run a finished trial again, as it was specified then, and compare; nothing is written.

    Args:
        folder: results of a run, or their URL, or a publication.
        name: label of the trial, or how its label or identity begins.
        tolerance: relative difference up to which a number is close; within the sample error it is close in any case.

    Raises:
        RequestError: if there is no such trial, or there are several, or the tolerance is negative.
        StoreError: if the trial has no results, or a file cannot be read.
        StudyError: if it cannot be run here.
    """
    if not tolerance >= 0:
        raise RequestError(f"tolerance must be at least 0, got {tolerance:g}")
    store = Store(opened(folder))
    trial = _named(store, name)
    record = store.record(trial.label) or {}
    results = store.results()
    recorded = results[(results["trial"] == trial.identity) & results["metric"].notna()]
    if recorded.empty:
        raise StoreError(f"{folder} has no results of {trial.label}: run the study first")
    with display(1, 0) as shown, quiet():
        check_trials([trial], shown.note)
        result = execute(trial, Reporter(trial.label, shown.show), Log())
    again = long_table(result.rows)
    table = recorded.merge(again, on=["decoder", "metric"], how="left", suffixes=("", "_again"))
    table = table.assign(recorded=table["value"], again=table["value_again"])
    reach = sample_errors(len(table))
    table["closeness"] = [
        _closeness(recorded, again, reach * error, n, tolerance).value
        for recorded, again, error, n in table[[*_NUMBERS, "n"]].to_numpy(float).tolist()
    ]
    return Reproduction(trial.label, table[_COLUMNS], tuple(_changed(trial, record)))


def sample_errors(numbers: int) -> float:
    """Sample errors up to which a number is close: of the difference of two samples, Bonferroni over all numbers."""
    return math.sqrt(2) * float(norm.isf(FALSE_ALARMS / (2 * numbers)))


def layout(found: Reproduction) -> Group:
    """A reproduction for the terminal."""
    rows = [
        [str(row["decoder"]), str(row["metric"]), *(f"{row[name]:.6g}" for name in _NUMBERS), str(row["closeness"])]
        for row in found.table.to_dict("records")
    ]
    grid = Grid(found.label, _COLUMNS, frozenset(("decoder", "metric")), [rows])
    notes = found.changed or ["Nothing that could change a number has changed since."]
    return grids.layout([grid], notes, _STYLES)


def _named(store: Store, name: str) -> Trial:
    trials = store.specified()
    found = [trial for trial in trials if trial.label.startswith(name) or trial.identity.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        labels = ", ".join(each.label for each in found)
        raise RequestError(f"{name!r} are {len(found)} trials of {store.out}: {labels}")
    raise RequestError(f"{store.out} has no trial {name!r}: it has {len(trials)}, the first is {trials[0].label}")


def _closeness(recorded: float, again: float, error: float, n: float, tolerance: float) -> Closeness:
    if recorded == again:
        return Closeness.IDENTICAL
    if not (math.isfinite(recorded) and math.isfinite(again)):
        return Closeness.DIFFERENT
    # A share of none or all has no spread of its own: up to three of n go with it (the rule of three).
    bounds = (tolerance * abs(recorded), error, 3 / n if recorded in (0, 1) else 0)
    return Closeness.CLOSE if any(abs(recorded - again) <= bound for bound in bounds) else Closeness.DIFFERENT


def _changed(trial: Trial, record: Mapping[str, Any]) -> list[str]:
    before = {**trial.versions, **record.get("machine", {}), "source code": record.get("source")}
    now: dict[str, object] = {**library_versions(), **machine(), "processes": 1, "source code": source_digest()}
    for registry, parts in ((TRAINERS, [trial.trainer]), (TASKS, [trial.task]), (METRICS, trial.metrics)):
        for part in parts:
            entry = registry.entry(part.use)
            before[part.use], now[part.use] = _origin(part), _origin(entry)
    changed = [name for name in now if name in before and before[name] != now[name]]
    return [f"{name} was {before[name]}, is {now[name]}" for name in changed]


def _origin(part: Component | Entry) -> str:
    return f"{part.distribution} {part.version}"
