"""What the harness lends a trainer for one trial: seeds, clocks, measurements on the way, and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.checkpoints import CheckpointFile
from harness.evaluation import Evaluator
from harness.preparation import Prepared, max_actions
from harness.progress import Reporter
from harness.seeding import TRAINING_AXES, axis_seeds
from harness.trial import Trial
from harness.trial_log import Log
from harness.validation import Key, build

if TYPE_CHECKING:
    from trainers.base import Trainer
    from trainers.checkpoints import Checkpoints
    from trainers.policy import Policy


@dataclass(frozen=True)
class Training:
    """The training of one trial.

    Attributes:
        trial, prepared: what is being trained on what.
        evaluator: measures on the way; its meter and budget are those of the training.
        reporter: told about progress.
        log: takes the learning curve and the timings.
    """

    trial: Trial
    prepared: Prepared
    evaluator: Evaluator
    reporter: Reporter
    log: Log

    @property
    def leads(self) -> bool:
        """Whether this process measures and keeps checkpoints; the others of a launch only train."""
        from trainers.processes import Processes

        return Processes.present().rank == 0

    def fit(self, trainer: Trainer, policy: Policy, checkpoint: Path | None) -> Policy:
        """Train a policy.

        Args:
            trainer: trains it.
            policy: to start from; may be changed in place.
            checkpoint: as for ``harness.execution.execute``.
        """
        from trainers.base import Context, Optimization

        self.reporter.phase("training", self.evaluator.budget.steps)
        context = Context(
            seeds=axis_seeds(self.trial.seed, TRAINING_AXES),
            optimization=build(Optimization, self.trial.optimization, Key("optimization")),
            meter=self.evaluator.meter,
            max_new_tokens=self.prepared.task.max_new_tokens,
            max_actions=max_actions(self.trial, self.prepared),
            error_tokens=self.prepared.task.error_tokens,
            report=self._report,
            evaluate=self._evaluate,
            checkpoints=self._checkpoints(checkpoint),
        )
        return trainer.fit(policy, self.prepared.train, self.evaluator.budget, context)

    def _report(self, row: Mapping[str, float]) -> None:
        numbers = _numbers(row)
        self.log.curve.append(numbers)
        with self.evaluator.meter.paused():
            self.log.sent.curve(numbers)
        self.reporter.reach(self.evaluator.meter.steps)

    def _evaluate(self, policy: Policy) -> None:
        if self.leads and self.evaluator.due:
            with self.log.phase("evaluation"), self.evaluator.meter.paused():
                before = len(self.evaluator.rows)
                self.evaluator(policy)
                self.log.sent.measured(self.evaluator.rows[before:])

    def _checkpoints(self, path: Path | None) -> Checkpoints:
        from trainers.checkpoints import NoCheckpoints

        if path is None:
            return NoCheckpoints()
        every = self.trial.checkpoint_every if self.leads else 0
        return CheckpointFile(path, self.trial.identity, every, self.reporter.note, self._progress, self._resume)

    def _progress(self) -> dict[str, Any]:
        timings = {"training": self.evaluator.meter.seconds, "evaluation": self.log.timings.get("evaluation", 0.0)}
        return {
            "curve": self.log.curve,
            "evaluations": self.evaluator.rows,
            "unmeasured": self.evaluator.unmeasured,
            "timings": timings,
        }

    def _resume(self, progress: Mapping[str, Any]) -> None:
        self.log.curve[:] = progress["curve"]
        self.evaluator.rows[:], self.evaluator.unmeasured[:] = progress["evaluations"], progress["unmeasured"]
        self.log.timings.update(progress["timings"])
        for row in self.log.curve:
            self.log.sent.curve(row)
        self.log.sent.measured(self.evaluator.rows)


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """A row of the learning curve as plain numbers: a trainer may report tensors of one element."""
    from trainers.base import TrainerError

    if "step" not in row:
        raise TrainerError(f"a row of the learning curve needs a 'step' (context.meter.steps); it has {list(row)}")
    try:
        return {name: value if isinstance(value, int | float) else float(value) for name, value in row.items()}
    except (TypeError, ValueError, RuntimeError) as error:
        raise TrainerError(
            f"a row of the learning curve must have numbers alone: {error}; it is {dict(row)}"
        ) from error
