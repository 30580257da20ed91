"""A long table read again at an equal budget: what each trial was worth once it had spent so much.

Trainers that stop after equally many optimiser steps have not read equally many tokens, nor taken equally long. Studies
with ``[evaluation] points`` measure policies on the way, with all clocks, so that a table can be read at any budget on
any clock. What was not measured is not made up: nothing is interpolated between points or carried on beyond the end.

A number at a budget is that of a policy in the middle of its training: the learning rate is still that of the longer
schedule, and annealing has not come to its end. It is not what training with that budget from the start would give.
"""

from __future__ import annotations

import math

import pandas as pd

from harness.errors import RequestError, suggestion
from harness.tables import CLOCKS, long_table

TOLERANCE = 0.15
"""Largest share of a budget that a trial may have left unspent where it was measured last."""

_TRIAL = ("study", "trial", "trainer", "task", "decoder", "seed")


def parse_at(text: str) -> tuple[str, float]:
    """Read a budget as the command line takes it.

    Args:
        text: ``CLOCK=AMOUNT``, for example ``tokens=1e6``.

    Returns:
        The clock and the amount.

    Raises:
        RequestError: if the clock is unknown or the amount is no positive number.
    """
    clock, equals, amount = (part.strip() for part in text.partition("="))
    if not equals:
        raise RequestError(f"--at {text}: must look like CLOCK=AMOUNT, for example tokens=1e6")
    try:
        limit = float(amount)
    except ValueError:
        raise RequestError(f"--at {text}: {amount!r} is not a number") from None
    _check(clock, limit, f"--at {text}: ")
    return clock, limit


def at_budget(evaluations: pd.DataFrame, clock: str, limit: float, tolerance: float = TOLERANCE) -> pd.DataFrame:
    """Read a table at an equal budget.

    Of each trial and decoder those rows remain that were measured last before the clock passed the limit; their clocks
    say what had been spent. They count only if that was more than ``1 - tolerance`` of the limit: a trial whose
    training ended long before, or that was measured too rarely, is missing. So are numbers that were not measured at
    that point. A trainer that never trains has spent nothing at any budget, and is the same at all of them: it counts.

    Args:
        evaluations: a long table with all evaluated steps, see ``Store.evaluations``.
        clock: one of ``CLOCKS``.
        limit: positive, in the unit of the clock.
        tolerance: in [0, 1).

    Returns:
        A long table with at most one row per number of a trial and decoder. Where a number was not measured at that
        point, its row has status "missing" and value NaN; where there is no such point, one row without metric has
        status "missing", as that of a trial that was not run, and the clocks of the last point within the limit. Rows
        of failed and missing trials are as before.

    Raises:
        RequestError: if the clock is unknown, or limit or tolerance is out of range.
    """
    _check(clock, limit)
    if not 0 <= tolerance < 1:
        raise RequestError(f"tolerance must lie in [0, 1), got {tolerance}")
    groups = evaluations.groupby(["study", "trial", "decoder"], sort=False)
    tables = [_read(points, clock, limit, (1 - tolerance) * limit) for _, points in groups]
    return long_table(pd.concat(tables, ignore_index=True) if tables else evaluations)


def spending(table: pd.DataFrame, clock: str, limit: float, tolerance: float = TOLERANCE) -> str:
    """What the trials of a table from ``at_budget`` had really spent, in sentences to be shown below it."""
    read = table[(table["status"] == "finished") & (table["step"] > 0)]
    if read.empty:
        return (
            f"Read at {clock} = {limit:g}: no trained policy was measured within {tolerance:.0%} below it; "
            "[evaluation] points = N in a study measures on the way."
        )
    shares = read[clock].astype("float64") / limit
    least = read.iloc[int(shares.argmin())]
    whose = f"{least['trainer']} on {least['task']}"
    return (
        f"Read at {clock} = {limit:g}: policies had spent {shares.min():.0%} ({whose}) to {shares.max():.0%} of it; "
        f"what was not measured within {tolerance:.0%} below it is missing. "
        "Where training went on, its schedule was laid out for more."
    )


def _check(clock: str, limit: float, where: str = "") -> None:
    if clock not in CLOCKS:
        raise RequestError(f"{where}unknown clock {clock!r}{suggestion(clock, CLOCKS)}")
    if not (math.isfinite(limit) and limit > 0):
        raise RequestError(f"{where}a budget must be positive and finite, got {limit:g}")


def _read(points: pd.DataFrame, clock: str, limit: float, least: float) -> pd.DataFrame:
    """The rows of one trial and decoder."""
    finished = points[points["status"] == "finished"]
    if finished.empty:
        return points
    absent = long_table(finished[list(_TRIAL)].head(1).assign(status="missing"))
    within = finished[finished[clock].astype("float64") <= limit]
    if within.empty:
        return absent
    last = within[within["step"] == within["step"].max()]
    clocks = {name: last[name].iloc[0] for name in CLOCKS}
    if not _never_trains(finished) and clocks[clock] < least:
        return long_table(absent.assign(**clocks))
    other = finished[~finished["metric"].isin(last["metric"])].drop_duplicates("metric")
    unmeasured = other[[*_TRIAL, "metric", "higher_is_better"]].assign(status="missing", **clocks)
    return long_table(pd.concat([last, long_table(unmeasured)]))


def _never_trains(points: pd.DataFrame) -> bool:
    """By its meter; the wall clock runs for every trainer."""
    return not points[["step", "tokens", "generated_tokens", "flops"]].to_numpy("float64").any()
