"""What the processes of a launch do between trials, and which of them measures: the script of test_meetings.py."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch
from datasets import Dataset
from small_studies import small_study, toy

import harness
from harness import launch
from harness.errors import StudyError
from harness.expansion import plan
from harness.launch import Launch
from harness.trial import Trial
from metrics.base import KnownAnswer, Metric, MetricContext, Value
from trainers.base import Budget, Context
from trainers.mle import MaximumLikelihood
from trainers.policy import Policy

PATIENCE = 2.0
"""Seconds, after a failure."""
LATE = 4.0
STUDY = small_study(
    seeds=1,
    budget={"steps": 4},
    optimization={"batch_size": 4, "log_every": 1},
    checkpoint_every=1,
    evaluation={"points": 2, "metrics": ["judged"]},
    trainers={"own": {"use": f"{__file__}:OneKeepsCheckpoints"}},
    tasks={
        name: {"use": toy("Letters"), "metrics": {"judged": {"use": f"{__file__}:OneMeasures", "task": name}}}
        for name in ("unmeasurable", "letters")
    },
)


def rank() -> int:
    return int(os.environ["RANK"])


@dataclass(frozen=True, kw_only=True)
class OneKeepsCheckpoints(MaximumLikelihood):
    """Fails where the wrong process is asked for checkpoints."""

    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        assert context.checkpoints.due(1) == (rank() == 0)
        return super().fit(policy, examples, budget, context)


@dataclass(frozen=True, kw_only=True)
class OneMeasures(Metric):
    """Fails in every process but the first, and there at the end of training on one of the tasks."""

    values: ClassVar[Mapping[str, Value]] = {"judged": Value(None, (0, 1))}
    task: str
    calls: ClassVar[list[str]] = []

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        assert rank() == 0
        self.calls.append(self.task)
        if self.calls == ["unmeasurable"] * 2:
            raise RuntimeError("a bug in the metric")
        return {"judged": 1.0}

    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        return []


def meeting(together: Launch, trial: Trial, problem: str | None = None, late: float = 0) -> dict[str, Any]:
    """Meet, the first process so many seconds late; what it came to, and how long that took."""
    time.sleep(late if together.leads else 0)
    started, error = time.monotonic(), ""
    try:
        together.meet(trial, problem)
    except StudyError as raised:
        error = str(raised)
    return {"seconds": time.monotonic() - started, "error": error}


def main(out: Path) -> None:
    torch.set_num_threads(1)
    launch.GRACE = timedelta(seconds=PATIENCE)
    together = launch.launch()
    assert together is not None
    meet = partial(meeting, together, plan(STUDY).trials[0])
    problem = "the traceback"
    first, other = (problem, None) if together.leads else (None, problem)
    group = torch.distributed.distributed_c10d._get_default_group()
    found = {
        "days": group._get_backend(torch.device("cpu")).options._timeout.days,
        "announced": together.announced(f"said by {rank()}"),
        "late": [meet(late=LATE) for _ in range(2)],
        "all failed": meet(problem),
        "first failed": meet(first),
        "table": harness.run(STUDY, out / "results", report_to=["tensorboard"]).to_json(),
        "other failed": meet(other),
        "other failed and first stuck": meet(other, late=LATE),
    }
    (out / f"{rank()}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
