"""A policy measured in the middle of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.measuring import long_rows, measure
from harness.preparation import Prepared, max_actions
from harness.progress import Reporter
from harness.seeding import axis_seed
from harness.study import Evaluation
from harness.trial import Trial
from harness.validation import Key, build

if TYPE_CHECKING:
    import pandas as pd

    from metrics.base import Metric
    from trainers.base import Budget, Meter
    from trainers.decoding import Decoder
    from trainers.policy import Policy


def generate(trial: Trial, prepared: Prepared, policy: Policy, decoder: Decoder, reporter: Reporter) -> pd.DataFrame:
    """Let a policy write a completion for every test prompt, and put the reference beside it."""
    generations = policy.generate(
        list(prepared.judged["prompt"]),
        decoder,
        axis_seed(trial.seed, "generation"),
        prepared.task.max_new_tokens,
        max_actions(trial, prepared),
        batch_size=trial.generation["batch_size"],
        progress=reporter.advance,
    )
    return generations.assign(reference=list(prepared.judged["completion"]))


@dataclass
class Evaluator:
    """Measures a policy at the points in training that a study names, as it will be measured at the end.

    Training goes on as if nothing had happened: random states, modes and wrapping of the model are as before, and the
    clock may be paused. A metric that cannot be computed from what an unfinished policy writes is noted and left out.

    Attributes:
        trial, prepared: what is being trained on what.
        decoders, metrics: by name; the metrics are those of the points before the end.
        steps: optimiser steps after which the policy is measured.
        budget, meter: of the training.
        reporter: told about progress.
        rows: of the long table, of all points so far.
        unmeasured: what was left out, and why.
    """

    trial: Trial
    prepared: Prepared
    decoders: Mapping[str, Decoder]
    metrics: Mapping[str, Metric]
    steps: tuple[int, ...]
    budget: Budget
    meter: Meter
    reporter: Reporter
    rows: list[dict[str, Any]] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        trial: Trial,
        prepared: Prepared,
        decoders: Mapping[str, Decoder],
        metrics: Mapping[str, Metric],
        parameters: int,
        reporter: Reporter,
    ) -> Evaluator:
        """The evaluator of a trial, with the meter and the budget of its training.

        Args:
            trial: what is being trained.
            prepared: on what.
            decoders: by name.
            metrics: all of the trial.
            parameters: of the policy.
            reporter: told about progress.
        """
        from trainers.base import Budget, Meter

        budget = build(Budget, trial.budget, Key("budget"))
        wanted, points = trial.evaluation.get("metrics", ()), trial.evaluation.get("points", 0)
        return cls(
            trial,
            prepared,
            decoders,
            {name: metrics[name] for name in wanted},
            Evaluation(points=points).steps(budget.steps),
            budget,
            Meter(parameters=parameters),
            reporter,
        )

    @property
    def due(self) -> bool:
        """Whether this is such a step, and training goes on after it: at the end all is measured anyway."""
        return self.meter.steps in self.steps and not self.meter.exhausted(self.budget)

    def __call__(self, policy: Policy) -> None:
        """Measure the policy under every decoder."""
        from trainers.aside import set_aside

        clocks = {"step": self.meter.steps, **self.meter.reading()}
        with self.reporter.aside(f"evaluation at step {self.meter.steps}"), set_aside(policy) as trained:
            for name, decoder in self.decoders.items():
                self.reporter.phase(f"generation {name}", len(self.prepared.judged))
                generations = generate(self.trial, self.prepared, trained, decoder, self.reporter)
                values = self._values(trained, name, decoder, generations)
                self.rows += long_rows(self.trial, name, values, len(generations), clocks)

    def _values(self, policy: Policy, name: str, decoder: Decoder, generations: pd.DataFrame) -> list[dict[str, Any]]:
        from metrics.base import MetricError

        values = []
        for metric in self.metrics.items():
            try:
                values += measure(
                    self.trial, self.prepared, policy, decoder, generations, dict([metric]), self.reporter
                )
            except MetricError as error:
                self.unmeasured.append(f"step {self.meter.steps}, decoder {name}: metric {metric[0]!r}: {error}")
        return values
