"""Curves that metrics report, on their way from a metric to the table that plots are made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import suggestion

if TYPE_CHECKING:
    from metrics.base import Metric

Collect = Callable[[str, Sequence[float], Sequence[float]], None]


def collector(name: str, metric: Metric, rows: list[dict[str, Any]]) -> Collect:
    """What a metric may call with its curves: it checks them and adds a row per point.

    Args:
        name: of the metric in the study.
        metric: declares its curves.
        rows: gets ``metric, series, x, y``.

    Returns:
        A function of the name of a curve and its points. It raises MetricError if the curve is not declared or was
        reported before, if ``x`` and ``y`` are not of one length, or if a coordinate is not finite.
    """
    from metrics.base import MetricError

    seen = set[str]()

    def collect(series: str, x: Sequence[float], y: Sequence[float]) -> None:
        where = f"metric {name!r}: series {series!r}"
        if series not in metric.series:
            raise MetricError(f"{where} is not declared in its series{suggestion(series, metric.series)}")
        if series in seen:
            raise MetricError(f"{where} is reported twice")
        first, second = (np.asarray(axis, np.float64) for axis in (x, y))
        if first.ndim != 1 or first.shape != second.shape:
            raise MetricError(
                f"{where} needs as many x as y, each a list of numbers, got shapes {first.shape} and {second.shape}"
            )
        broken = np.flatnonzero(~(np.isfinite(first) & np.isfinite(second)))
        if len(broken):
            at = int(broken[0])
            raise MetricError(f"{where} has points that are not finite, the first is ({first[at]}, {second[at]})")
        seen.add(series)
        points = zip(first.tolist(), second.tolist(), strict=True)
        rows.extend({"metric": name, "series": series, "x": a, "y": b} for a, b in points)

    return collect
