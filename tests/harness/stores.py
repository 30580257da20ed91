"""Results folders with the numbers and texts that a test wants, written as a run writes them, without a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from harness.execution import Result
from harness.expansion import plan
from harness.holding import hold
from harness.measuring import long_rows
from harness.store import Store
from harness.trial import Trial
from harness.trial_log import Log
from harness.trial_writing import write_trial

CLOCKS = {"step": 40, "tokens": 4000, "generated_tokens": 0, "flops": 4e9, "seconds": 2.0}
WALK = ("The", " cat", " dog", None, None, " do", "g", " sat", "")
"""Two tokens are erased, then four actions more, the last of which ends the text."""


def forget_digests(folder: Path) -> None:
    """Make the record of a trial one of a version that kept no digests of its files."""
    record = folder / "trial.json"
    content = json.loads(record.read_text())
    del content["files"]
    record.write_text(json.dumps(content))


def sample(
    actions: tuple[str | None, ...] = WALK, prompt: str = "Once", reference: str = "The dog sat"
) -> dict[str, Any]:
    """A row of generations that ends with the end of sequence."""
    visible: list[str] = []
    for text in actions:
        if text is None:
            visible.pop()
        else:
            visible.append(text)
    return {
        "prompt": prompt,
        "reference": reference,
        "completion": "".join(visible),
        "completion_ids": list(range(len(visible) - 1)),
        "actions": list(range(len(actions))),
        "action_texts": list(actions),
        "finish": "eos",
        "n_actions": len(actions),
        "n_backspaces": sum(text is None for text in actions),
    }


def number(metric: str, value: float, higher: bool | None, error: float = 0.01) -> dict[str, Any]:
    return {"metric": metric, "value": value, "higher_is_better": higher, "sample_error": error}


def make_store(
    out: Path,
    overrides: tuple[str, ...] = (),
    *,
    study: str | Path = "quick",
    numbers: Callable[[Trial, np.random.Generator], list[dict[str, Any]]] | None = None,
    samples: Callable[[Trial], list[dict[str, Any]]] | None = None,
    failed: dict[str, str] | None = None,
    missing: tuple[str, ...] = (),
) -> Store:
    """Write the trials of a study.

    Args:
        out: results folder.
        overrides: of the study.
        study: name or file.
        numbers: what each decoder of a trial measured.
        samples: what each decoder of a trial wrote.
        failed: tracebacks, by the beginning of a trial's label.
        missing: beginnings of the labels of trials that have not been run.
    """
    store, planned = Store(out), plan(study, overrides)
    with hold(store, planned):
        for index, trial in enumerate(planned.trials):
            if trial.label.startswith(missing or ("\0",)):
                continue
            log = Log({"training": 1.5, "generation": 0.5}, _curve(index))
            broken = [text for start, text in (failed or {}).items() if trial.label.startswith(start)]
            if broken:
                write_trial(store, trial, log, None, broken[0])
                continue
            rng = np.random.default_rng(index)
            write_trial(
                store, trial, log, _result(trial, (numbers or _numbers)(trial, rng), (samples or _samples)(trial))
            )
    return store


def _result(trial: Trial, numbers: list[dict[str, Any]], samples: list[dict[str, Any]]) -> Result:
    axes = {"trial": trial.identity, "trainer": trial.trainer.name, "task": trial.task.name, "seed": trial.seed}
    rows, tables, series, earlier = [], [], [], []
    for decoder in trial.decoders:
        rows += long_rows(trial, decoder, numbers, len(samples), CLOCKS)
        for share in (0.25, 0.5):
            clocks = {name: type(value)(share * value) for name, value in CLOCKS.items()}
            values = [{**each, "value": each["value"] * share} for each in numbers]
            earlier += long_rows(trial, decoder, values, len(samples), clocks)
        tables.append(pd.DataFrame(samples).assign(sample=range(len(samples)), decoder=decoder, **axes))
        name = {"text": ("mauve", "divergence_curve"), "language": ("exact", "excess_error")}.get(trial.task.name)
        points = {"decoder": decoder, "metric": name[0], "series": name[1]} if name else {}
        series += [{**axes, **points, "x": x, "y": 0.1 * x + 0.01 * trial.seed} for x in range(1, 6) if name]
    generations = pd.concat(tables, ignore_index=True)
    policy: Any = SimpleNamespace(parameters=1234)
    return Result(rows, generations, series, earlier, [], policy)


def _numbers(trial: Trial, rng: np.random.Generator) -> list[dict[str, Any]]:
    """What the bundled metrics report, as many numbers as they do."""
    from harness.registry import METRICS

    found = []
    for metric in trial.metrics:
        for name, value in METRICS.load(metric.use).values.items():  # noqa: PD011
            found.append(number(name, float(rng.uniform(0.2, 0.8)), value.higher_is_better))
    return found


def _samples(trial: Trial) -> list[dict[str, Any]]:
    tokens = 24 if trial.task.name == "text" else 6
    walk = tuple(f" word{place}" for place in range(tokens))
    if "backspace" in trial.trainer.name or "cloning" in trial.trainer.name:
        walk = (*walk[:-1], " wrong", None, walk[-1])
    prompts = [f"Prompt number {index} of task {trial.task.name}. " * 3 for index in range(40)]
    return [sample((*walk, ""), prompt, "The reference of it. " * 4) for prompt in prompts]


def _curve(index: int) -> list[dict[str, float]]:
    return [
        {"step": step, "loss": 3.0 / step + 0.01 * (index % 7), "tokens": 100 * step, "generated_tokens": 0}
        | {"flops": 1e8 * step, "seconds": 0.05 * step}
        for step in range(1, 40)
    ]
