"""The metric in use: a small study from end to end."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path

import harness
from harness.study import Study
from harness.testing.battery import Tier, require
from harness.testing.metric.battery import METRIC
from harness.testing.metric.subject import MetricSubject
from harness.testing.tracebacks import last_lines

MODEL = {
    "fresh": {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "merges": 0,
        "alphabet": "seen",
    }
}


@METRIC.check(Tier.FULL)
def a_study_with_it_finishes(subject: MetricSubject) -> None:
    """A study of an untrained policy on a finite language has the numbers of the metric in its table."""
    n = len(subject.world.completions)
    sizes = {"train": n, "validation": n, "test": n, "max_length": 4}
    table = {"use": subject.plugin.address, **subject.plugin.settings}
    study = Study(
        name="check",
        model=MODEL,
        budget={"steps": 1},
        trainers={"pretrained": {}},
        tasks={"language": {**sizes, "metrics": {"subject": table}}},
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        results = harness.run(study, folder)
        problem = next(last_lines(Path(folder)), "")
    require(set(results["status"]) == {"finished"}, f"the trial failed: {problem}")
    reported = set(results["metric"].dropna())
    require(reported, "the table has no number of it: report at least one")
    require(reported <= set(subject.plugin.cls.values), f"the table has {sorted(reported)}, which it does not declare")
