"""The task in use: its metrics on its own references, and a small study from end to end."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path

import harness
from harness.expansion import plan
from harness.measuring import measure
from harness.preparation import instance, prepare
from harness.progress import Reporter
from harness.registry import METRICS
from harness.study import Study
from harness.testing.battery import Tier, require
from harness.testing.generations import written
from harness.testing.task.battery import TASK
from harness.testing.task.subject import CONTEXT, TaskSubject
from harness.testing.tracebacks import last_lines
from trainers.decoding import Decoder
from trainers.models import build_policy

MODEL = {
    "fresh": {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "merges": 64,
        "max_position_embeddings": CONTEXT,
    }
}


@TASK.check(Tier.FULL)
def metrics_take_the_references(subject: TaskSubject) -> None:
    """Every metric of the task can be computed on the references, as if a policy had written them."""
    (trial,) = plan(_study(subject)).trials
    prepared = prepare(trial)
    policy = build_policy(prepared.model, prepared.tokenizer, backspace=False, seed=0)
    rows = prepared.judged
    table = written(policy, rows["prompt"][:], rows["completion"][:], rows["completion"][:], rows["finished"][:])
    for component in trial.metrics:
        metric = instance(METRICS, component)
        values = measure(
            trial, prepared, policy, Decoder(), table, {component.name: metric}, Reporter("check", lambda _: None)
        )
        require(values, f"metric {component.name!r} reports nothing of the references: name other metrics")
        for value in values:
            low, high = metric.values[value["metric"]].range
            require(
                low <= value["value"] <= high,
                f"metric {component.name!r}: {value['metric']} of the references is {value['value']}, out of its range",
            )


@TASK.check(Tier.FULL)
def a_study_on_it_finishes(subject: TaskSubject) -> None:
    """A study of an untrained policy on the task gives a number for every metric."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        results = harness.run(_study(subject), folder)
        problem = next(last_lines(Path(folder)), "")
    require(set(results["status"]) == {"finished"}, f"the trial of an untrained policy failed: {problem}")
    for component in plan(_study(subject)).trials[0].metrics:
        numbers = set(METRICS.load(component.use).values)
        require(
            numbers & set(results["metric"]),
            f"metric {component.name!r} reports nothing of an untrained policy: name other metrics",
        )


def _study(subject: TaskSubject) -> Study:
    table = {"use": subject.plugin.address, **subject.plugin.settings, **subject.sizes}
    return Study(name="check", model=MODEL, budget={"steps": 1}, trainers={"pretrained": {}}, tasks={"subject": table})
