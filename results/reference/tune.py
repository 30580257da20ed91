"""Choose the settings of the reference study: as many tries for every trainer, judged on validation.

    python results/reference/tune.py [--tasks language arithmetic text] [--workers 2]

A try is a point drawn for all trainers of a task alike: learning rate and weight decay, and what each method has beside
them, so that methods that share a setting share its values. Every try is run under two seeds that the reference
study does not use. What is judged is never what the reference study is judged on: validation examples, and for
``language``, whose numbers are exact, another language. The best mean wins. Results land in results/tuning-TASK, and
running it again goes on; ``tries-TASK.csv`` beside this file have every try, the best of a trainer first, and what they
have is not run again. The winners are in the study.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import qmc

import harness
from harness.study import Evaluation, Study, load_study

HERE = Path(__file__).parent
TRIES = 8
SEEDS = (1000, 1001)
OBJECTIVES = {"language": ("kl_forward", False), "arithmetic": ("accuracy", True), "text": ("mauve", True)}
"""The number that decides, and whether more of it is better."""
KINDS = {
    "language": ("uniform", "unigram", "policy"),
    "arithmetic": ("uniform", "task", "policy"),
    "text": ("uniform", "unigram", "policy"),
}
LEVELS = ("logits", "head")
LEARNING_RATES = {
    "language": [(2e-3, 2e-2), (8e-3, 2.4e-2)],
    "arithmetic": [(2e-3, 2e-2), (4e-4, 4e-3)],
    "text": [(1e-3, 1e-2)],
}
"""Ranges of ``TRIES`` points each. A second one is around what was best in the first, or beyond its edge."""
RANGES = {
    "weight_decay": (0.01, 0.5),
    "unlikelihood": (0.01, 1.0),
    "noise": (0.01, 0.3),
    "alpha": (0.002, 0.4),
}
OWN = {
    "mle": (),
    "unlikelihood": ("unlikelihood",),
    "behavioral_cloning": ("noise", "noise_kind"),
    "sequence_match": ("alpha", "levels"),
    "sequence_match_backspace": ("noise", "noise_kind", "alpha", "levels"),
}
"""Which coordinates of a point a trainer has, beside those of the optimiser."""


def points(task: str) -> list[dict[str, Any]]:
    """The points of a task, spread evenly (Sobol): ranges are logarithmic, choices equally likely."""
    sobol = qmc.Sobol(len(RANGES) + 3, seed=sorted(OBJECTIVES).index(task))
    return [_point(task, rates, row) for rates in LEARNING_RATES[task] for row in sobol.random(TRIES)]


def _point(task: str, rates: tuple[float, float], row: NDArray[np.float64]) -> dict[str, Any]:
    *shares, kind, levels = row.tolist()
    scaled = zip({"learning_rate": rates, **RANGES}.items(), shares, strict=True)
    return {
        **{name: float(f"{low * (high / low) ** share:.2g}") for (name, (low, high)), share in scaled},
        "noise_kind": KINDS[task][int(kind * len(KINDS[task]))],
        "levels": LEVELS[int(levels * len(LEVELS))],
    }


def settings(trainer: str, point: dict[str, Any]) -> dict[str, Any]:
    """The table of a trainer in a study, at a point."""
    own = {"alpha" if name == "unlikelihood" else name: point[name] for name in OWN[trainer]}
    return {**own, "optimization": {name: point[name] for name in ("learning_rate", "weight_decay")}}


def recorded(task: str) -> pd.DataFrame:
    """The tries of a task that are on record."""
    path = HERE / f"tries-{task}.csv"
    return pd.read_csv(path) if path.exists() else pd.DataFrame({"number": []})


def study_of(task: str, done: Collection[int] = ()) -> Study:
    """The study that tries out everything on one task, sized and measured as the reference study is.

    Args:
        task: the task.
        done: numbers of points that are left out.
    """
    reference, _ = load_study("reference_main")
    table = {name: value for name, value in reference.tasks[task].items() if name != "trainers"}
    changes = {"language": {"seed": 1}, "text": {"validation": 256}}.get(task, {})
    trainers = {
        f"{trainer}.{number}": {**reference.trainers[trainer], "use": trainer, **settings(trainer, point)}
        for trainer in OWN
        for number, point in enumerate(points(task))
        if number not in done
    }
    return replace(
        reference,
        name=f"tuning-{task}",
        seeds=SEEDS,
        split="validation",
        decoders={"ancestral": {}},
        trainers=trainers,
        tasks={task: {**table, "decoders": ["ancestral"], **changes}},
        metrics=reference.metrics if task == "text" else {},
        evaluation=Evaluation(),
    )


def summary(task: str, results: pd.DataFrame) -> pd.DataFrame:
    """A row per trainer and try."""
    metric, _ = OBJECTIVES[task]
    means = results[results["metric"] == metric].groupby("trainer")["value"].agg(["mean", "min", "max"]).reset_index()
    names = means["trainer"].str.rsplit(".", n=1, expand=True)
    rows = means.assign(task=task, trainer=names[0], number=names[1].astype(int), metric=metric)
    drawn = points(task)
    tried = [settings(each["trainer"], drawn[each["number"]]) for each in rows.to_dict("records")]
    return rows.assign(settings=[json.dumps(each) for each in tried])


def main() -> None:
    """Run the tries of some tasks, and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tasks", nargs="*", choices=OBJECTIVES, default=list(OBJECTIVES))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    for task in options.tasks:
        table = recorded(task)
        done = set(table["number"])
        if len(done) < len(points(task)):
            results = harness.run(study_of(task, done), HERE.parent / f"tuning-{task}", workers=options.workers)
            table = pd.concat([table, summary(task, results)])
        table = table.sort_values(["trainer", "mean"], ascending=[True, not OBJECTIVES[task][1]], ignore_index=True)
        table.to_csv(HERE / f"tries-{task}.csv", index=False, float_format="%.6g")
        print(table.to_string())


if __name__ == "__main__":
    main()
