"""Figures of docs/results.md, from the tables in results/reference.

Usage: python docs/results_figures.py [results/reference] [docs/images]
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.comparison import compare
from harness.result_files import read_results

KINDS = ("uniform", "task")
RATES = {"none": 0.0, "small": 0.02, "large": 0.2}
METHODS = {"cloning": "behavioural cloning", "match": "SequenceMatch"}


def main(results: Path, images: Path) -> None:
    """Draw all figures whose tables are there."""
    images.mkdir(parents=True, exist_ok=True)
    drawn = {
        "main": lambda table: effects(table, "mle", ("accuracy", "mauve", "kl_forward"), decoder="ancestral"),
        "noise": noise,
        "regimes": lambda table: effects(table, "mle", ("kl_forward", "invalid_mass")),
        "grid": lambda table: effects(table, "behavioral_cloning", ("kl_forward", "invalid_mass")),
    }
    for name, draw in drawn.items():
        if (results / name).is_dir():
            draw(read_results(results / name, "reference")).savefig(images / f"reference-{name}.svg")


def effects(table: pd.DataFrame, baseline: str, metrics: tuple[str, ...], decoder: str = "ancestral") -> Figure:
    """Effects against a baseline and their 95 % intervals over seeds; right is better, full dots are significant."""
    found = compare(table, baseline, metrics=[name for name in metrics if name in set(table["metric"])])
    found = found[(found["decoder"] == decoder) & (found["trainer"] != "pretrained")]
    panels = [(task, metric) for (task, metric), _ in found.groupby(["task", "metric"], sort=False)]
    rows = found["trainer"].nunique()
    figure = Figure(figsize=(3.4 * len(panels), 0.9 + 0.28 * rows), layout="constrained")
    for column, ((task, metric), axes) in enumerate(
        zip(panels, figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], strict=True)
    ):
        mine = found[(found["task"] == task) & (found["metric"] == metric)].iloc[::-1]
        errors = [mine["effect"] - mine["low"], mine["high"] - mine["effect"]]
        filled = mine["verdict"].isin(["better", "worse"]).map({True: "black", False: "white"})
        axes.errorbar(mine["effect"], mine["trainer"], xerr=errors, fmt="none", ecolor="0.6")
        axes.scatter(mine["effect"], mine["trainer"], c=filled, edgecolors="black")
        axes.axvline(0, color="0.8", zorder=0)
        axes.set_title(f"{task}: {metric.replace('_', ' ')}", fontsize=9)
        axes.set_xlabel(f"better than {baseline} by" if not column else "")
        axes.tick_params(labelsize=8)
        axes.margins(y=0.2)
        axes.locator_params(axis="x", nbins=4)
    return figure


def noise(table: pd.DataFrame) -> Figure:
    """Accuracy against the rate of noise, a panel per kind, a line per method, dots for seeds; dashed: likelihood."""
    accuracy = table[table["metric"] == "accuracy"].groupby("trainer")["value"]
    means = accuracy.mean()
    figure = Figure(figsize=(6.8, 2.8), layout="constrained")
    for kind, axes in zip(KINDS, figure.subplots(1, len(KINDS), sharey=True), strict=True):
        _noise_panel(axes, kind, means, {str(name): list(values) for name, values in accuracy})
    return figure


def _noise_panel(axes: Axes, kind: str, means: pd.Series[float], seeds: dict[str, list[float]]) -> None:
    for offset, (prefix, label) in zip((-0.06, 0.06), METHODS.items(), strict=True):
        names = [f"{prefix}_none", *(f"{prefix}_{kind}_{size}" for size in ("small", "large"))]
        places = [index + offset for index in range(len(names))]
        (line,) = axes.plot(places, [means[name] for name in names], label=label)
        for place, name in zip(places, names, strict=True):
            axes.plot([place] * len(seeds[name]), seeds[name], ".", color=line.get_color(), alpha=0.4)
    axes.axhline(means["mle"], color="0.5", linestyle="--", label="maximum likelihood")
    axes.set_xticks(range(len(RATES)), [f"{rate:g}" for rate in RATES.values()])
    axes.set_xlabel(f"rate of {kind} noise")
    axes.set_ylabel("accuracy")
    axes.legend(fontsize=8)


if __name__ == "__main__":
    main(Path(*sys.argv[1:2] or ["results/reference"]), Path(*sys.argv[2:3] or ["docs/images"]))
