"""What the plots of a page show: learning curves on every clock, and the curves that metrics report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.tables import read_arrow

if TYPE_CHECKING:
    import pandas as pd

    from harness.store import Store

AXES = {
    "step": "optimiser steps",
    "tokens": "tokens seen in training",
    "generated_tokens": "tokens generated in training",
    "flops": "training FLOPs",
    "seconds": "seconds of training",
}
"""The clocks of a budget, and what they are called below a plot."""
LOG = 100.0
"""Positive values that span more than this factor are drawn on a logarithmic axis."""
POINTS = 40
"""Most points of a learning curve: a plot is a few hundred pixels wide."""


@dataclass(frozen=True)
class Line:
    """A curve: the mean over seeds, and the least and the greatest of them; or one seed alone, where ``low`` is None.

    ``label`` names it, ``color`` and ``dash`` are indices (trainer, decoder).
    """

    label: str
    color: int
    dash: int
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Chart:
    """A plot: its title, the labels of its axes, and its curves; ``axis`` names the clock, empty for no clock."""

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    axis: str = ""

    @property
    def logarithmic(self) -> bool:
        """Whether the values are positive and span so much that y is drawn logarithmically."""
        values = [value for line in self.lines for value in (*line.y, *(line.low or ()))]
        return bool(values) and min(values) > 0 and max(values) / min(values) > LOG


def read_curves(store: Store) -> pd.DataFrame:
    """The training losses of all trials: ``task, trainer, decoder, seed, metric`` ("training loss"), ``value``, clocks.

    Raises:
        StoreError: if there is no study, or a file is damaged.
    """
    import pandas as pd

    fixed = ("task", "trainer", "decoder", "seed", "metric")
    columns: dict[str, list[Any]] = {name: [] for name in (*fixed, "value", *AXES)}
    for entry in store.study()["trials"]:
        path = store.trials / entry["label"] / "curve.parquet"
        if not path.is_file():
            continue
        curve = read_arrow(path)
        if len(curve) and "loss" in curve.column_names:
            chosen = np.unique(np.linspace(0, len(curve) - 1, POINTS).round().astype(int))
            names = (entry["task"]["name"], entry["trainer"]["name"], "", entry["seed"], "training loss")
            for name, value in zip(fixed, names, strict=True):
                columns[name] += [value] * len(chosen)
            for name, source in {"value": "loss", **{axis: axis for axis in AXES}}.items():
                known = source in curve.column_names
                columns[name] += curve[source].take(chosen).to_pylist() if known else [None] * len(chosen)
    return pd.DataFrame(columns)


def learning_charts(
    rows: pd.DataFrame, metrics: Sequence[str], trainers: Sequence[str], decoders: Sequence[str]
) -> list[list[Chart]]:
    """Plots of numbers during training, of one task.

    Args:
        rows: a long table over several steps, or ``read_curves``.
        metrics: what is plotted.
        trainers: in the order of their colours.
        decoders: in the order of their dashes.

    Returns:
        For each metric that was evaluated more than once, a plot on every clock on which anything moves.
    """
    charts = []
    for metric in metrics:
        mine = rows[(rows["metric"] == metric) & rows["value"].notna()]
        columns = {name: (name, "mean") for name in AXES}
        spread = {name: ("value", name) for name in ("mean", "min", "max")}
        steps = mine.astype(dict.fromkeys(AXES, "float64")).groupby(["trainer", "decoder", "step"])
        curves = dict(tuple(steps.agg(**columns, **spread).groupby(["trainer", "decoder"], sort=False)))
        plots = []
        for axis, label in AXES.items():
            lines = [
                _line(str(trainer), str(decoder), curve, axis, trainers, decoders)
                for (trainer, decoder), curve in curves.items()
            ]
            lines = sorted((line for line in lines if line.x), key=lambda line: (line.color, line.dash))
            if any(len(set(line.x)) > 1 for line in lines):
                plots.append(Chart(metric, label, metric, tuple(lines), axis))
        if plots:
            charts.append(plots)
    return charts


def _line(
    trainer: str, decoder: str, curve: pd.DataFrame, axis: str, trainers: Sequence[str], decoders: Sequence[str]
) -> Line:
    known = curve[axis].notna().to_numpy()
    x, y, low, high = (tuple(curve[name].to_numpy()[known].tolist()) for name in (axis, "mean", "min", "max"))
    return Line(*_identity(trainer, decoder, trainers, decoders), x, y, low, high)


def _identity(trainer: str, decoder: str, trainers: Sequence[str], decoders: Sequence[str]) -> tuple[str, int, int]:
    label = f"{trainer}, {decoder}" if decoder and len(decoders) > 1 else trainer
    return label, trainers.index(trainer), decoders.index(decoder) if decoder else 0


def series_charts(
    series: pd.DataFrame,
    labels: Mapping[tuple[str, str], tuple[str, str]],
    trainers: Sequence[str],
    decoders: Sequence[str],
) -> list[Chart]:
    """Plots of the curves that metrics report, of one task.

    Args:
        series: see ``Store.series``.
        labels: of the axes, by metric and series.
        trainers: in the order of their colours.
        decoders: in the order of their dashes.

    Returns:
        A plot per curve. Seeds whose points have the same x are drawn as a mean and a band, others one by one.
    """
    charts = []
    for (metric, name), rows in series.groupby(["metric", "series"], sort=False):
        lines = list[Line]()
        for (trainer, decoder), mine in rows.groupby(["trainer", "decoder"], sort=False):
            identity = _identity(str(trainer), str(decoder), trainers, decoders)
            seeds = [(each["x"].to_numpy(float), each["y"].to_numpy(float)) for _, each in mine.groupby("seed")]
            if len(seeds) > 1 and all(np.array_equal(x, seeds[0][0]) for x, _ in seeds):
                ys = np.array([y for _, y in seeds])
                lines.append(Line(*identity, *map(tuple, (seeds[0][0], ys.mean(0), ys.min(0), ys.max(0)))))
            else:
                lines += [Line(*identity, tuple(x), tuple(y)) for x, y in seeds]
        x, y = labels.get((str(metric), str(name)), ("x", "y"))
        charts.append(Chart(f"{metric}: {name}".replace("_", " "), x, y, tuple(lines)))
    return charts
