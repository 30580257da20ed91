"""Choose the settings of the reference study: as many tries for every trainer, judged on validation.

    python results/reference/tune.py [--tasks language arithmetic text few] [--workers 2]

A try is a point drawn for all trainers of a task alike: learning rate and weight decay, and what each method has beside
them, so that methods that share a setting share its values. Every try is run under seeds that the reference
studies do not use. What is judged is never what they are judged on: validation examples, and for ``language`` and
``few``, whose numbers are exact, another language. The best mean wins.

Trainers are tried one after the other, with results in results/tuning-TASK-TRAINER, and running it again goes on. Every
try is in ``tries-TASK.csv`` beside this file, the best of a trainer first, and is not run again. The winners are in the
study.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import qmc

import harness
from harness.remeasuring import remeasure
from harness.study import Evaluation, Study, load_study

HERE = Path(__file__).parent
TRIES = 8
EXACT = ("kl_forward", False)
OBJECTIVES = {"arithmetic": ("accuracy", True), "language": EXACT, "text": ("mauve", True), "few": EXACT}
"""The number that decides, and whether more of it is better."""
STUDIES = {**dict.fromkeys(OBJECTIVES, "reference_main"), "few": "reference_few"}
SEEDS = {task: (1000, 1001, 1002, 1003) if found == EXACT else (1000, 1001) for task, found in OBJECTIVES.items()}
KINDS = {
    "language": ("uniform", "unigram", "policy"),
    "arithmetic": ("uniform", "task", "policy"),
    "text": ("uniform", "unigram", "policy"),
    "few": ("uniform", "unigram", "policy"),
}
LEVELS = ("logits", "head")
LEARNING_RATES = {
    "language": [(4e-3, 2e-2)],
    "arithmetic": [(2e-3, 2e-2), (4e-4, 4e-3)],
    "text": [(1e-3, 1e-2)],
    "few": [(1e-3, 2e-2)] * 2,
}
"""Ranges of ``TRIES`` points each. A second one is around what was best in the first, or beyond its edge."""
NOISE = {**dict.fromkeys(OBJECTIVES, (0.01, 0.3)), "text": (0.001, 0.3)}
WEIGHT_DECAY = {**dict.fromkeys(OBJECTIVES, (0.01, 0.5)), "few": (0.01, 5.0)}
STEPS = {"few": (50, 400)}
"""Tasks on which stopping early is a setting too."""
RANGES = {"unlikelihood": (0.01, 1.0), "alpha": (0.002, 0.4)}
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
    sobol = qmc.Sobol(len(RANGES) + 5 + (task in STEPS), seed=list(OBJECTIVES).index(task))
    return [_point(task, rates, row) for rates in LEARNING_RATES[task] for row in sobol.random(TRIES)]


def _point(task: str, rates: tuple[float, float], row: NDArray[np.float64]) -> dict[str, Any]:
    rate, decay, unlikelihood, noise, alpha, kind, levels, *early = row.tolist()
    drawn = {"learning_rate": (rate, rates), "weight_decay": (decay, WEIGHT_DECAY[task]), "noise": (noise, NOISE[task])}
    drawn |= {name: (share, RANGES[name]) for name, share in zip(RANGES, (unlikelihood, alpha), strict=True)}
    if early:
        drawn["steps"] = (early[0], STEPS[task])
    numbers = {name: float(f"{low * (high / low) ** share:.2g}") for name, (share, (low, high)) in drawn.items()}
    return {
        **numbers,
        "noise_kind": KINDS[task][int(kind * len(KINDS[task]))],
        "levels": LEVELS[int(levels * len(LEVELS))],
    }


def settings(trainer: str, point: dict[str, Any]) -> dict[str, Any]:
    """The table of a trainer in a study, at a point."""
    own = {"alpha" if name == "unlikelihood" else name: point[name] for name in OWN[trainer]}
    budget = {"budget": {"steps": int(point["steps"])}} if "steps" in point else {}
    return {**own, "optimization": {name: point[name] for name in ("learning_rate", "weight_decay")}, **budget}


def recorded(task: str) -> pd.DataFrame:
    """The tries of a task that are on record."""
    path = HERE / f"tries-{task}.csv"
    return pd.read_csv(path) if path.exists() else pd.DataFrame({"trainer": [], "number": []})


def study_of(task: str, trainer: str, numbers: Iterable[int]) -> Study:
    """The study that tries out some points of a trainer on one task, sized and measured as the reference study is."""
    reference, _ = load_study(STUDIES[task])
    table = {name: value for name, value in reference.tasks[task].items() if name != "trainers"}
    changes = {"seed": 1} if OBJECTIVES[task] == EXACT else {"validation": 256} if task == "text" else {}
    drawn, plain = points(task), {**reference.trainers[trainer], "use": trainer}
    return replace(
        reference,
        name=f"tuning-{task}-{trainer}",
        seeds=SEEDS[task],
        split="validation",
        decoders={"ancestral": {}},
        trainers={f"{trainer}.{number}": {**plain, **settings(trainer, drawn[number])} for number in numbers},
        tasks={task: {**table, "decoders": ["ancestral"], **changes}},
        metrics=reference.metrics if task == "text" else {},
        evaluation=Evaluation(),
    )


def tried(task: str, trainer: str, numbers: Sequence[int], workers: int) -> pd.DataFrame:
    """Run some points of a trainer; a row for each, without numbers where a seed has none.

    MAUVE is that of all of them clustered together.
    """
    metric, _ = OBJECTIVES[task]
    out = HERE.parent / f"tuning-{task}-{trainer}"
    results = harness.run(study_of(task, trainer, numbers), out, workers=workers)
    if metric == "mauve":
        results = remeasure(out, "mauve").table
    values = results[results["metric"] == metric].groupby("trainer")["value"].agg(["mean", "min", "max", "count"])
    values = values.reindex([f"{trainer}.{number}" for number in numbers])
    values[values.pop("count") != len(SEEDS[task])] = np.nan  # a point at which a seed fails does not win
    rows = values.reset_index(drop=True).assign(trainer=trainer, number=list(numbers))
    drawn = points(task)
    told = [json.dumps(settings(trainer, drawn[number])) for number in rows["number"]]
    return rows.assign(task=task, metric=metric, settings=told)


def main() -> None:
    """Run the tries of some tasks, and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tasks", nargs="*", choices=OBJECTIVES, default=list(OBJECTIVES))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    for task in options.tasks:
        for trainer in OWN:
            table = recorded(task)
            done = set(table.loc[table["trainer"] == trainer, "number"])
            numbers = [number for number in range(len(points(task))) if number not in done]
            if numbers:
                table = pd.concat([table, tried(task, trainer, numbers, options.workers)])
                table = table.sort_values(["trainer", "mean"], ascending=[True, not OBJECTIVES[task][1]])
                table.to_csv(HERE / f"tries-{task}.csv", index=False, float_format="%.6g")
        print(recorded(task).to_string())


if __name__ == "__main__":
    main()
