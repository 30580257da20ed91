"""One trial, from its seeds to its numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.action_texts import with_action_texts
from harness.evaluation import Evaluator, generate
from harness.measuring import long_rows, measure
from harness.preparation import Prepared, instance, prepare
from harness.progress import Reporter
from harness.registry import METRICS, TRAINERS
from harness.seeding import axis_seed
from harness.threads import pinned
from harness.training import Training
from harness.trial import Trial
from harness.trial_log import Log
from harness.validation import Key, build

if TYPE_CHECKING:
    import pandas as pd

    from metrics.base import Metric
    from trainers.decoding import Decoder
    from trainers.policy import Policy


@dataclass(frozen=True)
class Result:
    """What a trial measured.

    Attributes:
        rows: rows of the long table, as dictionaries.
        generations: one row per sample.
        series: a row per point of the curves that the metrics report.
        evaluations: rows of the long table, from before the end of training.
        unmeasured: what could not be measured then, and why.
        policy: the trained policy.
    """

    rows: list[dict[str, Any]]
    generations: pd.DataFrame
    series: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    unmeasured: list[str]
    policy: Policy


def execute(trial: Trial, reporter: Reporter, log: Log, checkpoint: Path | None = None) -> Result:
    """Run a trial.

    Its result depends on the trial alone: random numbers come from its seed, and torch and BLAS use
    ``trial.threads`` threads.

    Args:
        trial: what to run.
        reporter: told about progress.
        log: filled on the way, so that it is there even if this raises.
        checkpoint: file that keeps the state of training every so often, and that it goes on from if it is there; None:
            no state is kept.

    Raises:
        Exception: whatever the trainer, task or metrics raise.
    """
    with isolated(trial):
        return _measured(_trained(trial, reporter, log, checkpoint), reporter, log)


def follow(trial: Trial, checkpoint: Path | None = None) -> None:
    """Train with the process that executes the trial, in another one of its launch, and measure nothing.

    Args:
        trial: what to run.
        checkpoint: the same file; it is only read.

    Raises:
        Exception: whatever the trainer or task raise.
    """
    with isolated(trial):
        _trained(trial, Reporter(trial.label, lambda _: None), Log(), checkpoint)


@dataclass(frozen=True)
class _Trained:
    trial: Trial
    prepared: Prepared
    decoders: Mapping[str, Decoder]
    metrics: Mapping[str, Metric]
    evaluator: Evaluator
    policy: Policy


def _trained(trial: Trial, reporter: Reporter, log: Log, checkpoint: Path | None) -> _Trained:
    from trainers.decoding import Decoder
    from trainers.models import build_policy

    with log.phase("data"):
        reporter.phase("data")
        prepared = prepare(trial)
        trainer = instance(TRAINERS, trial.trainer)
        metrics = {component.name: instance(METRICS, component) for component in trial.metrics}
    with log.phase("model"):
        reporter.phase("model")
        seed = axis_seed(trial.seed, "init")
        policy = build_policy(prepared.model, prepared.tokenizer, backspace=trainer.backspace, seed=seed)
    decoders = {name: build(Decoder, table, Key(f"decoder {name!r}")) for name, table in trial.decoders.items()}
    with log.phase("training"):
        evaluator = Evaluator.of(trial, prepared, decoders, metrics, policy.parameters, reporter)
        policy = Training(trial, prepared, evaluator, reporter, log).fit(trainer, policy, checkpoint)
    return _Trained(trial, prepared, decoders, metrics, evaluator, policy)


def _measured(trained: _Trained, reporter: Reporter, log: Log) -> Result:
    import pandas as pd

    trial, prepared, policy, evaluator = trained.trial, trained.prepared, trained.policy, trained.evaluator
    spent = {"step": evaluator.meter.steps, **evaluator.meter.reading()}
    rows, tables, series = [], [], list[dict[str, Any]]()
    for name, decoder in trained.decoders.items():
        with log.phase("generation"):
            reporter.phase(f"generation {name}", len(prepared.judged))
            generations = with_action_texts(generate(trial, prepared, policy, decoder, reporter), policy)
        with log.phase("metrics"):
            points = list[dict[str, Any]]()
            values = measure(trial, prepared, policy, decoder, generations, trained.metrics, reporter, points)
        axes: dict[str, Any] = {
            "trainer": trial.trainer.name,
            "task": trial.task.name,
            "seed": trial.seed,
            "decoder": name,
        }
        series += [{"trial": trial.identity, **axes, **point} for point in points]
        tables.append(generations.assign(sample=range(len(generations)), **axes))
        rows += long_rows(trial, name, values, len(generations), spent)
    earlier = [row for row in evaluator.rows if row["step"] < spent["step"]]
    return Result(rows, pd.concat(tables, ignore_index=True), series, earlier, evaluator.unmeasured, policy)


@contextmanager
def isolated(trial: Trial) -> Iterator[None]:
    """Seed what draws from global generators, and pin threads, so that trials do not influence each other."""
    with pinned(trial.threads):
        import numpy as np
        import torch

        seed = axis_seed(trial.seed, "order")
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        yield
