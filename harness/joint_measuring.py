"""All trials of one task and seed measured together, by a metric that can compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.measuring import metric_context, value_rows
from harness.preparation import Prepared
from harness.trial import Trial

if TYPE_CHECKING:
    import pandas as pd

    from metrics.joint import JointMetric

COLUMNS: dict[str, str] = {
    "study": "str",
    "task": "str",
    "seed": "int64",
    "metric": "str",
    "first_trainer": "str",
    "first_decoder": "str",
    "second_trainer": "str",
    "second_decoder": "str",
    "difference": "float64",
    "p_value": "float64",
    "p_holm": "float64",
}
"""Columns of the table of differences and their types. ``difference`` is the number of the first system less that of
the second. ``p_value`` is over the samples of two trained policies, and ``p_holm`` adjusts it for all pairs of that
task and seed."""


@dataclass(frozen=True)
class System:
    """What is compared: a trained policy under a decoder, by what it wrote.

    Attributes:
        trial: what trained the policy.
        decoder: name of the decoder.
        generations: a row per test example.
    """

    trial: Trial
    decoder: str
    generations: pd.DataFrame

    @property
    def label(self) -> str:
        return f"{self.trial.label} under {self.decoder}"


def measure_jointly(
    systems: Sequence[System], prepared: Prepared, name: str, metric: JointMetric
) -> tuple[list[list[dict[str, Any]]], list[dict[str, Any]]]:
    """Measure systems of one task and seed together.

    Args:
        systems: at least one.
        prepared: their task and examples.
        name: of the metric.
        metric: measures them.

    Returns:
        For each system, name, value and direction of its numbers; and the rows of the table of differences.

    Raises:
        MetricError: if a number is NaN or undeclared, or whatever else the metric raises.
    """
    from harness.statistics import holm

    trial = systems[0].trial
    named = {system.label: system for system in systems}
    tables = {label: system.generations for label, system in named.items()}
    result = metric.compute_jointly(tables, metric_context(trial, prepared))
    adjusted = holm([found.p_value for found in result.differences])
    differences = [
        {
            "study": trial.study,
            "task": trial.task.name,
            "seed": trial.seed,
            "metric": found.metric,
            "first_trainer": named[found.first].trial.trainer.name,
            "first_decoder": named[found.first].decoder,
            "second_trainer": named[found.second].trial.trainer.name,
            "second_decoder": named[found.second].decoder,
            "difference": found.difference,
            "p_value": found.p_value,
            "p_holm": p_holm,
        }
        for found, p_holm in zip(result.differences, adjusted, strict=True)
    ]
    return [value_rows(name, metric, result.numbers.get(label, {})) for label in named], differences


def differences_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Give rows the columns and types of the table of differences."""
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(COLUMNS)).astype(COLUMNS)
