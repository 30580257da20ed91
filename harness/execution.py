"""One trial, from its seeds to its numbers."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.measuring import long_rows, measure
from harness.preparation import Prepared, instance, max_actions, prepare
from harness.progress import Reporter
from harness.registry import METRICS, TRAINERS
from harness.seeding import axis_seed, axis_seeds
from harness.trial import Trial
from harness.validation import Key, build

if TYPE_CHECKING:
    import pandas as pd

    from trainers.base import Meter, Trainer
    from trainers.policy import Policy


@dataclass
class Log:
    """What is known of a trial even if it fails.

    Attributes:
        timings: wall-clock seconds by phase (data, model, training, generation, metrics).
        curve: rows of the learning curve.
    """

    timings: dict[str, float] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a phase."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.timings[name] = self.timings.get(name, 0.0) + time.monotonic() - started


@dataclass(frozen=True)
class Result:
    """What a trial measured.

    Attributes:
        rows: rows of the long table, as dictionaries.
        generations: one row per sample.
        policy: the trained policy.
    """

    rows: list[dict[str, Any]]
    generations: pd.DataFrame
    policy: Policy


def execute(trial: Trial, reporter: Reporter, log: Log) -> Result:
    """Run a trial.

    Its result depends on the trial alone: random numbers come from its seed, and torch and BLAS use
    ``trial.threads`` threads.

    Args:
        trial: what to run.
        reporter: told about progress.
        log: filled on the way, so that it is there even if this raises.

    Raises:
        Exception: whatever the trainer, task or metrics raise.
    """
    with isolated(trial):
        return _run(trial, reporter, log)


def _run(trial: Trial, reporter: Reporter, log: Log) -> Result:
    import pandas as pd

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
    with log.phase("training"):
        policy, meter = _train(trial, trainer, prepared, policy, reporter, log)
        spent = meter.reading()
    rows, tables = [], []
    for name, settings in trial.decoders.items():
        decoder = build(Decoder, settings, Key(f"decoder {name!r}"))
        with log.phase("generation"):
            reporter.phase(f"generation {name}", len(prepared.test))
            generations = _generate(trial, prepared, policy, decoder, reporter)
        with log.phase("metrics"):
            values = measure(trial, prepared, policy, decoder, generations, metrics, reporter)
        axes: dict[str, Any] = {
            "trainer": trial.trainer.name,
            "task": trial.task.name,
            "seed": trial.seed,
            "decoder": name,
        }
        tables.append(generations.assign(sample=range(len(generations)), **axes))
        rows += long_rows(trial, name, values, len(generations), {"step": meter.steps, **spent})
    return Result(rows, pd.concat(tables, ignore_index=True), policy)


def _train(
    trial: Trial, trainer: Trainer, prepared: Prepared, policy: Policy, reporter: Reporter, log: Log
) -> tuple[Policy, Meter]:
    from trainers.base import Budget, Context, Meter, Optimization

    budget = build(Budget, trial.budget, Key("budget"))
    meter = Meter(parameters=policy.parameters)

    def report(row: Mapping[str, float]) -> None:
        log.curve.append(dict(row))
        reporter.reach(meter.steps)

    reporter.phase("training", budget.steps)
    context = Context(
        seeds=axis_seeds(trial.seed),
        optimization=build(Optimization, trial.optimization, Key("optimization")),
        meter=meter,
        max_new_tokens=prepared.task.max_new_tokens,
        max_actions=max_actions(trial, prepared),
        error_tokens=prepared.task.error_tokens,
        report=report,
    )
    return trainer.fit(policy, prepared.train, budget, context), meter


def _generate(trial: Trial, prepared: Prepared, policy: Policy, decoder: Any, reporter: Reporter) -> pd.DataFrame:
    generations = policy.generate(
        list(prepared.test["prompt"]),
        decoder,
        axis_seed(trial.seed, "generation"),
        prepared.task.max_new_tokens,
        max_actions(trial, prepared),
        batch_size=trial.generation["batch_size"],
        progress=reporter.advance,
    )
    return generations.assign(reference=list(prepared.test["completion"]))


@contextmanager
def isolated(trial: Trial) -> Iterator[None]:
    """Seed what draws from global generators, and pin threads, so that trials do not influence each other."""
    import numpy as np
    import torch
    from threadpoolctl import threadpool_limits

    threads, seed = torch.get_num_threads(), axis_seed(trial.seed, "order")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    torch.set_num_threads(trial.threads)
    try:
        with threadpool_limits(limits=trial.threads):
            yield
    finally:
        torch.set_num_threads(threads)
