"""A loss is a sum over action steps: it does not matter how they are padded, ordered, or cut into batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from harness.testing.battery import require
from harness.testing.trainer.battery import TRAINER
from harness.testing.trainer.subject import TrainerSubject
from harness.testing.trainer.watching import batches_of
from trainers.backspace import IGNORE, NEVER
from trainers.base import Budget, Loss, Trainer
from trainers.batches import Batch, Sequences

if TYPE_CHECKING:
    from trainers.policy import Policy

_FILLS = {"death": NEVER, "labels": IGNORE}


@dataclass(frozen=True)
class Bench:
    """A trainer's loss on the last batch of a short training, with its roll-outs if it has any, on a fresh policy."""

    trainer: Trainer
    policy: Policy
    batch: Batch

    def loss(self, batch: Batch) -> Loss:
        """The loss of a batch."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return self.trainer.loss(self.policy, batch)

    def gradient(self, loss: Loss) -> Tensor:
        """Of the total, over all weights."""
        parameters = list(self.policy.model.parameters())
        found = torch.autograd.grad(loss.total, parameters, allow_unused=True)
        return torch.cat([torch.zeros(0) if each is None else each.flatten() for each in found])

    def gap(self, *batches: Batch) -> str:
        """How the sum over the batches differs from the loss of the whole; empty if it does not."""
        whole, parts = self.loss(self.batch), [self.loss(batch) for batch in batches]
        total, sums = float(whole.total.detach()), math.fsum(float(part.total.detach()) for part in parts)
        if not math.isclose(total, sums, rel_tol=1e-4, abs_tol=1e-4):
            return f"the total goes from {total:.5f} to {sums:.5f}"
        steps = sum(part.steps for part in parts)
        if whole.steps != steps:
            return f"the number of steps goes from {whole.steps} to {steps}"
        one, other = self.gradient(whole), torch.stack([self.gradient(part) for part in parts]).sum(0)
        distance = float((one - other).norm() / one.norm().clamp(min=1e-12))
        return f"the gradient moves by {distance:.1%} of its length" if distance > 1e-3 else ""


@contextmanager
def bench_of(subject: TrainerSubject) -> Iterator[Bench]:
    """The bench, for as long as there is what the trainer makes to learn with."""
    batch, policy = batches_of(subject, budget=Budget(steps=4), batch_size=6)[-1], subject.policy()
    with subject.trainer().learner(policy, subject.examples(), subject.context()) as learner:
        yield Bench(learner, policy, _both(batch, lambda sequences: sequences.to(policy.device)))


def _each(sequences: Sequences, change: Callable[[str, Tensor], Tensor]) -> Sequences:
    return Sequences(**{each.name: change(each.name, getattr(sequences, each.name)) for each in fields(Sequences)})


def _both(batch: Batch, change: Callable[[Sequences], Sequences]) -> Batch:
    rollouts = None if batch.rollouts is None else change(batch.rollouts)
    return replace(batch, data=change(batch.data), rollouts=rollouts)


def _rows(sequences: Sequences, rows: list[int]) -> Sequences:
    return _each(sequences, lambda _, column: column[rows])


@TRAINER.check()
def a_loss_is_a_sum_with_its_steps(subject: TrainerSubject) -> None:
    """``loss`` returns a finite scalar with a gradient, and the number of the expert's actions it sums over."""
    with bench_of(subject) as bench:
        loss = bench.loss(bench.batch)
        require(
            isinstance(loss, Loss), f"loss() returned {type(loss).__name__}: return trainers.base.Loss(total, steps)"
        )
        require(loss.total.dim() == 0, f"the total has shape {tuple(loss.total.shape)}: sum it up")
        require(
            bool(loss.total.isfinite()) and loss.total.requires_grad,
            f"the total is {loss.total}: it must be finite and have a gradient",
        )
        acts = int(bench.batch.data.acts.sum())
        require(
            loss.steps == acts,
            f"steps is {loss.steps} for a batch with {acts} actions of the expert: return int(batch.data.acts.sum())",
        )


@TRAINER.check()
def padding_changes_no_loss(subject: TrainerSubject) -> None:
    """Seven more slots of padding change neither loss nor gradient."""
    with bench_of(subject) as bench:

        def padded(sequences: Sequences) -> Sequences:
            return _each(sequences, lambda name, column: pad(column, (0, 7), value=_FILLS.get(name, 0)))

        gap = bench.gap(_both(bench.batch, padded))
        require(not gap, f"with more padding {gap}: mask it out (Sequences.acts, .real), and take no mean over slots")


@TRAINER.check()
def the_order_of_rows_changes_no_loss(subject: TrainerSubject) -> None:
    """The rows of a batch may come in any order."""
    with bench_of(subject) as bench:
        gap = bench.gap(_both(bench.batch, lambda sequences: _each(sequences, lambda _, column: column.flip(0))))
        require(not gap, f"with the rows in reverse {gap}: no row may know its place in the batch")


@TRAINER.check()
def a_batch_is_the_sum_of_its_rows(subject: TrainerSubject) -> None:
    """The loss of a batch is the sum of the losses of its rows, and so are its steps."""
    with bench_of(subject) as bench:
        batch, count = bench.batch, len(bench.batch.data.labels)
        own = [] if batch.rollouts is None else list(range(len(batch.rollouts.labels)))
        singles = [
            replace(
                batch,
                data=_rows(batch.data, [row]),
                rollouts=_rows(batch.rollouts, own[row::count]) if batch.rollouts and own[row::count] else None,
            )
            for row in range(count)
        ]
        gap = bench.gap(*singles)
        require(
            not gap,
            f"row by row {gap}: sum over action steps and divide by nothing, the loop divides once by the steps of all "
            "micro-batches",
        )


@TRAINER.check()
def a_loss_leaves_its_batch_alone(subject: TrainerSubject) -> None:
    """``loss`` changes neither the batch nor the gradients of the weights."""
    with bench_of(subject) as bench:
        lent = [each for each in (bench.batch.data, bench.batch.rollouts) if each is not None]
        before = [_each(each, lambda _, column: column.clone()) for each in lent]
        bench.loss(bench.batch)
        names = [
            field.name
            for field in fields(Sequences)
            for one, other in zip(before, lent, strict=True)
            if not torch.equal(getattr(one, field.name), getattr(other, field.name))
        ]
        require(not names, f"loss() changed {', '.join(names)} of its batch in place: work on a copy")
        moved = [name for name, each in bench.policy.model.named_parameters() if each.grad is not None]
        require(not moved, f"loss() left a gradient on {len(moved)} weights: return the total, the loop calls backward")
