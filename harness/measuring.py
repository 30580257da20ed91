"""From generations to rows of the long table, for a trial that runs and for one that is measured again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness.assets import cache_folder
from harness.preparation import Prepared, max_actions
from harness.progress import Reporter
from harness.seeding import axis_seed
from harness.series import collector
from harness.trial import Trial

if TYPE_CHECKING:
    import pandas as pd

    from metrics.base import Judge, Metric, MetricContext
    from tasks.base import Task
    from trainers.decoding import Decoder
    from trainers.policy import Policy


def measure(
    trial: Trial,
    prepared: Prepared,
    policy: Policy | None,
    decoder: Decoder,
    generations: pd.DataFrame,
    metrics: Mapping[str, Metric],
    reporter: Reporter,
    series: list[dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Name, value, sample error and direction of every number, in the order of the metrics.

    Args:
        trial: what wrote the generations.
        prepared: its task and examples.
        policy: the trained policy; None where no metric needs it.
        decoder: of the generations.
        generations: a row per test example.
        metrics: by name.
        reporter: told about progress.
        series: gets a row per point of the curves that the metrics report; None: they are dropped.

    Raises:
        MetricError: if a number is NaN or undeclared, a curve is malformed (see ``harness.series``), or whatever else
            the metrics raise.
    """
    from trainers.modes import evaluation_mode

    context = metric_context(trial, prepared, policy, decoder)
    rows, points = [], [] if series is None else series
    for name, metric in metrics.items():
        reporter.phase(f"metric {name}")
        plotting = replace(context, series=collector(name, metric, points))
        with evaluation_mode(policy.model) if policy else nullcontext():
            rows += value_rows(name, metric, metric.compute(generations, plotting))
    return rows


def metric_context(
    trial: Trial, prepared: Prepared, policy: Policy | None = None, decoder: Decoder | None = None
) -> MetricContext:
    """What the metrics of a trial may use; without policy and decoder, what all trials of its task and seed share."""
    from metrics.base import MetricContext

    return MetricContext(
        policy=policy,
        language=prepared.task.finite_language(),
        judge=judge_of(prepared),
        error_tokens=prepared.task.error_tokens,
        prompts=list(prepared.judged["prompt"]),
        completions=list(prepared.judged["completion"]),
        finished=list(prepared.judged["finished"]),
        real=list(prepared.real["completion"]),
        decoder=decoder,
        max_new_tokens=prepared.task.max_new_tokens,
        max_actions=max_actions(trial, prepared),
        cache=cache_folder() / "features",
        seed=axis_seed(trial.seed, "metric"),
    )


def value_rows(name: str, metric: Metric, values: Mapping[str, float]) -> list[dict[str, Any]]:
    """Name, value and direction of the numbers that a metric reported.

    Raises:
        MetricError: if one is NaN or undeclared.
    """
    from metrics.base import MetricError

    rows, declared = [], metric.values  # noqa: PD011
    for number, value in values.items():
        if number not in declared:
            raise MetricError(f"metric {name!r} reports {number!r}, which it does not declare in its values")
        if math.isnan(value):
            raise MetricError(f"metric {name!r}: {number} is not a number")
        direction = declared[number].higher_is_better
        error = getattr(value, "standard_error", math.nan)
        rows.append({"metric": number, "value": float(value), "sample_error": error, "higher_is_better": direction})
    return rows


def lacks(task: Task, metric: Metric) -> str | None:
    """What a metric needs of a task and this one does not have; None if it has all."""
    if "language" in metric.needs and task.finite_language() is None:
        return "a task whose language can be enumerated"
    if "judge" in metric.needs and task.judge() is None:
        return "a task on which the truth is known"
    return None


def omission(prepared: Prepared, metric: Metric) -> str | None:
    """Which numbers a metric will leave out for want of further real completions, and what to do; None: none."""
    real, wanted = len(prepared.real), len(prepared.judged)
    if real >= wanted or not metric.needs_real:
        return None
    names = " and ".join(metric.needs_real)
    if prepared.split == "validation":
        return f"no {names}: policies are judged on the validation examples, and there are no further real ones"
    return f"no {names}: the task has {real} validation examples for {wanted} test examples, give it as many of both"


def long_rows(
    trial: Trial, decoder: str, values: Iterable[Mapping[str, Any]], n: int, clocks: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Rows of the long table of a finished trial; one without a number where there is none.

    Args:
        trial: what was measured.
        decoder: name of the decoder.
        values: from ``measure``.
        n: number of generations.
        clocks: the last step, and what training spent.
    """
    common = {
        "study": trial.study,
        "trial": trial.identity,
        "trainer": trial.trainer.name,
        "task": trial.task.name,
        "decoder": decoder,
        "seed": trial.seed,
        "n": n,
        **clocks,
        "status": "finished",
    }
    return [{**common, **value} for value in values] or [common]


def judge_of(prepared: Prepared) -> Judge | None:
    """The judge of the task, for completions in tokens."""
    judge, decode = prepared.task.judge(), prepared.tokenizer.decode
    if judge is None:
        return None
    return lambda ids, reference, ended: judge(str(decode(list(ids))), reference, ended)
