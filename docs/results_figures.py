"""Figures of docs/results.md, from the tables and contrasts in results/reference.

Usage: python docs/results_figures.py [results/reference] [docs/images]
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.result_files import read_results

KINDS = ("uniform", "task")
RATES = {"none": 0.0, "small": 0.02, "large": 0.2}
METHODS = {"cloning": "behavioural cloning", "match": "SequenceMatch"}
ACROSS = 3
"""Panels beside each other."""
TRUNCATED = {"nucleus_low": "top-p 0.8", "nucleus": "top-p 0.95", "ancestral": "all"}
"""Decoders of ``reference_main``, from the most truncated to the least."""


def main(results: Path, images: Path) -> None:
    """Draw all figures whose tables are there."""
    images.mkdir(parents=True, exist_ok=True)
    if (results / "contrasts.csv").is_file():
        for study, found in pd.read_csv(results / "contrasts.csv").groupby("study"):
            _save(effects(found), images / f"reference-{study}.svg")
    if (results / "main").is_dir():
        table = read_results(results / "main", "reference")
        _save(frontier(table[table["task"] == "text"]), images / "reference-text-diversity.svg")
    if (results / "noise").is_dir():
        _save(noise(read_results(results / "noise", "reference")), images / "reference-noise-rates.svg")


def _save(figure: Figure, file: Path) -> None:
    """The same bytes for the same numbers: neither a date nor random ids."""
    with mpl.rc_context({"svg.hashsalt": file.name}):
        figure.savefig(file, metadata={"Date": None})


def effects(contrasts: pd.DataFrame) -> Figure:
    """Effects of the planned contrasts of a study and their 95 % intervals over seeds, a panel per question and task.

    Right is better; full dots are significant after correction, and grey bands are the margins of equality, which
    intervals of 90 % have to lie in.
    """
    panels = list(contrasts.groupby(["task", "question", "metric", "scale"], sort=False))
    columns = min(ACROSS, len(panels))
    rows, lines = -(-len(panels) // columns), max(len(mine) for _, mine in panels)
    figure = Figure(figsize=(5.2 * columns, rows * (0.9 + 0.26 * lines)), layout="constrained")
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    for left_over in places[len(panels) :]:
        left_over.remove()
    for (key, mine), axes in zip(panels, places, strict=False):
        task, question, metric, scale = key
        _effects_panel(axes, mine.iloc[::-1])
        axes.set_title(f"{task}, {question}\n{'log ratio' if scale == 'ratio' else scale} of {metric}", fontsize=8)
    return figure


def _effects_panel(axes: Axes, contrasts: pd.DataFrame) -> None:
    names = [f"{one} over {other}" for one, other in zip(contrasts["trainer"], contrasts["against"], strict=True)]
    errors = [contrasts["effect"] - contrasts["low"], contrasts["high"] - contrasts["effect"]]
    filled = contrasts["verdict"].isin(["better", "worse"]).map({True: "black", False: "white"})
    places = range(len(names))
    axes.barh(places, 2 * contrasts["margin"], left=-contrasts["margin"], height=0.8, color="0.93", zorder=0)
    axes.errorbar(contrasts["effect"], places, xerr=errors, fmt="none", ecolor="0.5")
    axes.scatter(contrasts["effect"], places, c=filled, edgecolors="black", zorder=3)
    axes.axvline(0, color="0.7", zorder=1)
    axes.use_sticky_edges = False  # an interval that ends where the grey band does is not cut
    axes.set_yticks(places, names)
    axes.tick_params(labelsize=7)
    axes.locator_params(axis="x", nbins=4)


def frontier(table: pd.DataFrame) -> Figure:
    """MAUVE against diversity: a line per trainer through its decoders, means with standard errors over seeds."""
    numbers = table[table["metric"].isin(["mauve", "diversity"]) & (table["trainer"] != "pretrained")]
    by_seed = numbers.pivot_table(index=["trainer", "decoder", "seed"], columns="metric", values="value")
    groups = by_seed.groupby(["trainer", "decoder"])
    means, errors = groups.mean(), groups.sem()
    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    axes = figure.subplots()
    for trainer in numbers["trainer"].unique():
        mine, spread = (of.xs(trainer).loc[list(TRUNCATED)] for of in (means, errors))
        places, bars = (mine["diversity"], mine["mauve"]), (spread["mauve"], spread["diversity"])
        axes.errorbar(*places, *bars, marker="o", markersize=3, label=trainer)
    axes.set_xlabel(f"diversity of the texts ({', '.join(TRUNCATED.values())}: from left to right)")
    axes.set_ylabel("MAUVE, each trial clustered by itself")
    axes.legend(fontsize=8)
    return figure


def noise(table: pd.DataFrame) -> Figure:
    """Accuracy against the rate of noise, a panel per kind, a line per method, dots for seeds; dashed: likelihood."""
    accuracy = table[table["metric"] == "accuracy"].groupby("trainer")["value"]
    means = accuracy.mean()
    figure = Figure(figsize=(6.8, 3.1), layout="constrained")
    panels = figure.subplots(1, len(KINDS), sharey=True)
    for kind, axes in zip(KINDS, panels, strict=True):
        _noise_panel(axes, kind, means, {str(name): list(values) for name, values in accuracy})
    panels[0].set_ylabel("accuracy")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=8)
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


if __name__ == "__main__":
    main(Path(*sys.argv[1:2] or ["results/reference"]), Path(*sys.argv[2:3] or ["docs/images"]))
