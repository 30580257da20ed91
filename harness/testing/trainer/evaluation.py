"""A trainer tells what it does: rows of the learning curve, and the policy whenever it has taken a step."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from harness.testing.battery import require, skip
from harness.testing.trainer.battery import TRAINER
from harness.testing.trainer.comparing import changed, difference, weights
from harness.testing.trainer.subject import MAX_ACTIONS, MAX_NEW_TOKENS, WORDS, TrainerSubject
from harness.testing.trainer.watching import WatchedMeter, batches_of
from trainers.aside import set_aside
from trainers.base import Budget
from trainers.decoding import Decoder

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.policy import Policy


@TRAINER.check()
def rows_of_the_curve_are_finite_and_in_order(subject: TrainerSubject) -> None:
    """Every row has a ``step`` larger than the one before, not beyond the meter's, and finite numbers."""
    fitted, before = subject.fit(budget=Budget(steps=6)), 0.0
    if not fitted.rows:
        skip("the trainer reports no learning curve")
    for index, row in enumerate(fitted.rows):
        require("step" in row, f"row {index} of the learning curve has no 'step', only {', '.join(row)}")
        require(
            before < row["step"] <= fitted.meter.steps,
            f"row {index} of the learning curve is of step {row['step']}, after step {before} and with "
            f"{fitted.meter.steps} steps on the meter: report context.meter.steps after the step",
        )
        before = row["step"]
        broken = [name for name, value in row.items() if not math.isfinite(value)]
        require(not broken, f"{', '.join(broken)} of step {before} are not finite: report only what was computed")


@TRAINER.check()
def the_curve_agrees_with_the_meter(subject: TrainerSubject) -> None:
    """Clocks in the learning curve show what the meter showed at that step."""
    meter = WatchedMeter()
    rows = subject.fit(budget=Budget(steps=6), meter=meter).rows
    clocks = ("tokens", "generated_tokens", "flops")
    if not any(name in row for row in rows for name in clocks):
        skip("the learning curve has no clocks: report {**context.meter.reading()} in each row to have them")
    shown = {each.steps: each for each in meter.history}
    for row in rows:
        at = shown.get(int(row["step"]))
        wrong = [name for name in clocks if at and name in row and row[name] != getattr(at, name)]
        require(
            at and not wrong,
            f"the row of step {row['step']} differs from the meter after it in {', '.join(wrong) or 'its step'}: "
            "report after context.meter.train",
        )


@TRAINER.check()
def rows_come_every_so_many_steps(subject: TrainerSubject) -> None:
    """The shared loop reports the first step, every ``log_every``-th after it, and the last."""
    batches_of(subject)
    steps = [row["step"] for row in subject.fit(budget=Budget(steps=6), log_every=4).rows]
    require(steps == [1, 5, 6], f"with log_every = 4 and 6 steps, rows came after steps {steps} and not 1, 5, 6")


@TRAINER.check()
def every_step_can_be_measured(subject: TrainerSubject) -> None:
    """``context.evaluate`` is called once after every optimiser step, and shows the policy as it is then.

    Steps before the policy's turn comes (a teacher learns first, say) show it as it was.
    """
    shown: list[dict[str, Tensor]] = []
    fitted = subject.fit(budget=Budget(steps=5), evaluate=lambda policy: shown.append(weights(policy)))
    if not fitted.evaluated:
        skip("the trainer never calls context.evaluate: it is measured when it has ended, and not before")
    want = list(range(1, fitted.meter.steps + 1))
    require(
        fitted.evaluated == want,
        f"context.evaluate was called when the meter showed steps {fitted.evaluated}, not {want}: call it once after "
        "context.meter.train",
    )
    moved = [bool(changed(one, other)) for one, other in pairwise([weights(subject.policy()), *shown])]
    still = [step for step, moves in enumerate(moved, 1) if not moves and any(moved[:step])]
    if not any(moved):
        still = want
    require(
        not still or not subject.plugin.cls.learns,
        f"the policy shown after step {still[:1]} is that of the step before: pass the policy that is being trained",
    )


@TRAINER.check()
def measuring_leaves_no_trace(subject: TrainerSubject) -> None:
    """Training goes on as if nothing had happened when the policy is measured in the middle of it."""

    def measure(policy: Policy) -> None:
        with set_aside(policy) as lent:
            lent.generate(list(WORDS[:4]), Decoder(), 1, MAX_NEW_TOKENS, MAX_ACTIONS)

    measured = subject.fit(budget=Budget(steps=5), evaluate=measure)
    if not measured.evaluated:
        skip("the trainer never calls context.evaluate")
    found = difference(subject.fit(budget=Budget(steps=5)), measured)
    require(
        not found,
        f"with the policy measured after every step: {found}; keep nothing on the model that a forward pass changes",
    )


@TRAINER.check()
def an_interrupt_ends_training(subject: TrainerSubject) -> None:
    """A KeyboardInterrupt in training, or while the policy is measured, is not caught."""
    meter = WatchedMeter()

    def interrupt(clocks: WatchedMeter) -> None:
        if clocks.steps == 2:
            raise KeyboardInterrupt

    meter.after = interrupt
    try:
        subject.fit(meter=meter)
    except KeyboardInterrupt:
        return
    if len(meter.history) < 2:
        skip("the trainer does not count its steps one by one, so there is no place to interrupt it")
    require(
        False, "a KeyboardInterrupt in step 2 was caught: catch Exception, not BaseException, and name what you expect"
    )
