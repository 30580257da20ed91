"""What must not matter to a step of training: padding, the order of rows, how a batch is cut into micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

import pytest
import torch
from datasets import Dataset
from torch.nn.functional import pad

from trainers.backspace import IGNORE, NEVER, visible
from trainers.base import Budget, Context, Loss, Trainer
from trainers.batches import Batch, Sequences, Trajectory, collate, trajectories_of
from trainers.behavioral_cloning import BehavioralCloning
from trainers.divergences import DIVERGENCES
from trainers.mle import MaximumLikelihood
from trainers.policy import Policy
from trainers.scores import logits_at
from trainers.sequence_match import SequenceMatch, SequenceMatchBackspace
from trainers.unlikelihood import Unlikelihood

MakePolicy = Callable[..., Policy]
TRAINERS = [
    MaximumLikelihood(),
    Unlikelihood(),
    BehavioralCloning(noise=0.3),
    SequenceMatchBackspace(noise=0.3),
    *(SequenceMatch(divergence=name, alpha=0.1) for name in DIVERGENCES),
]
NAMES = [f"{type(each).__name__}-{getattr(each, 'divergence', '')}".rstrip("-") for each in TRAINERS]


def padded(sequences: Sequences, slots: int) -> Sequences:
    fills = {"death": NEVER, "labels": IGNORE}
    return Sequences(
        **{
            each.name: pad(getattr(sequences, each.name), (0, slots), value=fills.get(each.name, 0))
            for each in fields(Sequences)
        }
    )


def reordered(sequences: Sequences, order: list[int]) -> Sequences:
    return Sequences(**{each.name: getattr(sequences, each.name)[order] for each in fields(Sequences)})


def both(batch: Batch, change: Callable[[Sequences], Sequences]) -> Batch:
    assert batch.rollouts is not None
    return replace(batch, data=change(batch.data), rollouts=change(batch.rollouts))


@pytest.fixture
def case(request: pytest.FixtureRequest, make_policy: MakePolicy, examples: Dataset, context: Context) -> Case:
    trainer: Trainer = request.param
    policy = make_policy(backspace=trainer.backspace, sharpness=5.0)
    expert = trajectories_of(examples, policy)
    data = trainer.prepare(expert, policy, context)(expert, 0)
    letters = policy.encode("abcde")
    bksp = policy.actions.bksp
    walk = [letters[0], letters[3], letters[1]] if bksp is None else [letters[0], bksp, letters[3], letters[1]]
    own = [
        Trajectory(each.prompt, (*walk, *each.actions), each.finished, (True,) * (len(walk) + len(each.actions)))
        for each in expert
    ]
    return Case(trainer, policy, Batch(collate(data, bksp), collate(own, bksp), 1.0, step=9, steps=10))


@dataclass
class Case:
    trainer: Trainer
    policy: Policy
    batch: Batch

    def loss_and_gradient(self, batch: Batch) -> tuple[float, torch.Tensor]:
        parameters = list(self.policy.model.parameters())
        loss = self.trainer.loss(self.policy, batch)
        gradients = torch.autograd.grad(loss.total, parameters)
        return float(loss.total.detach()) / loss.steps, torch.cat([each.flatten() for each in gradients]) / loss.steps

    def agrees_on(self, other: Batch) -> None:
        (loss, gradient), (other_loss, other_gradient) = map(self.loss_and_gradient, (self.batch, other))
        assert loss == pytest.approx(other_loss, abs=1e-5)
        torch.testing.assert_close(gradient, other_gradient, atol=1e-5, rtol=1e-4)
        assert gradient.abs().max() > 1e-3


@pytest.mark.parametrize("case", TRAINERS, ids=NAMES, indirect=True)
def test_padding_changes_neither_loss_nor_gradient(case: Case) -> None:
    case.agrees_on(both(case.batch, lambda sequences: padded(sequences, 7)))


@pytest.mark.parametrize("case", TRAINERS, ids=NAMES, indirect=True)
def test_the_order_of_rows_changes_neither_loss_nor_gradient(case: Case) -> None:
    case.agrees_on(both(case.batch, lambda sequences: reordered(sequences, [5, 2, 7, 0, 1, 6, 4, 3])))


@pytest.mark.parametrize("case", [MaximumLikelihood()], indirect=True)
def test_plain_text_needs_neither_mask_nor_positions(case: Case) -> None:
    data = case.batch.data
    inputs = data.inputs(torch.float32)
    assert list(inputs) == ["input_ids"]
    slot = torch.arange(data.death.shape[1])
    explicit = case.policy.model(
        input_ids=data.input_ids,
        attention_mask=(slot <= slot[:, None]).expand(len(data.death), 1, -1, -1),
        position_ids=data.position_ids,
    ).logits
    plain = case.policy.model(**inputs).logits
    torch.testing.assert_close(plain[data.real], explicit[data.real], atol=1e-5, rtol=0)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_policy_reads_a_walk_as_its_visible_text(
    attention: str, dtype: torch.dtype, make_policy: MakePolicy
) -> None:
    policy = make_policy()
    policy.model.to(dtype).set_attn_implementation(attention)
    bksp = policy.actions.bksp
    assert bksp is not None
    walks = [(3, 4, bksp, bksp, 5), (4, 4, bksp, 3), (5,)]

    def last(actions: list[tuple[int, ...]]) -> tuple[torch.Tensor, ...]:
        batch = collate([Trajectory((1, 6), each, False, (True,) * len(each)) for each in actions], bksp)
        at = torch.arange(len(actions)), batch.real.sum(1) - 1
        where = torch.zeros_like(batch.real)
        where[at] = True
        return policy.logits(batch)[at], *logits_at(policy, batch, where)

    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    for mine, plain in zip(last(walks), last([tuple(visible(each, bksp)) for each in walks]), strict=True):
        torch.testing.assert_close(mine, plain, atol=tolerance, rtol=tolerance)


@dataclass(frozen=True, kw_only=True)
class Watching(SequenceMatchBackspace):
    seen: list[Batch]

    def loss(self, policy: Policy, batch: Batch) -> Loss:
        self.seen.append(batch)
        return super().loss(policy, batch)


def slots(parts: list[Sequences | None]) -> list[int]:
    return [int(row.sum()) for part in parts if part is not None for row in part.real]


@pytest.mark.parametrize("parts", [1, 2, 3, 8])
def test_micro_batches_hold_the_batch_and_are_of_similar_lengths(
    parts: int, make_policy: MakePolicy, examples: Dataset, context: Context
) -> None:
    def watch(accumulation: int) -> tuple[list[Batch], list[Mapping[str, float]]]:
        seen: list[Batch] = []
        rows: list[Mapping[str, float]] = []
        optimization = replace(context.optimization, batch_size=8, accumulation=accumulation)
        here = replace(context, optimization=optimization, report=rows.append, meter=type(context.meter)())
        Watching(cloning_share=0, noise=0.3, seen=seen).fit(make_policy(), examples, Budget(steps=1), here)
        return seen, rows

    (whole,), _ = watch(1)
    found, rows = watch(parts)
    assert len(found) == parts
    data, rollouts = slots([batch.data for batch in found]), slots([batch.rollouts for batch in found])
    assert sorted(data) == sorted(slots([whole.data]))
    assert sorted(rollouts) == sorted(slots([whole.rollouts]))
    assert {len(batch.data.real) for batch in found} <= {8 // parts, -(-8 // parts)}
    assert {batch.rollout_weight for batch in found if batch.rollouts} == {2.0}, "over all micro-batches: 8 to 4"
    assert parts == 1 or data == sorted(data), "texts of similar length go together"
    longest = [max(slots([batch.rollouts])) for batch in found if batch.rollouts]
    assert longest == sorted(longest, reverse=True), "the longest texts go with the shortest roll-outs"
    assert rows[-1]["tokens"] == sum(data) + sum(rollouts)


def test_the_gradient_is_the_mean_over_all_steps_of_the_batch(
    make_policy: MakePolicy, examples: Dataset, context: Context
) -> None:
    policy = make_policy(backspace=False)
    expert = trajectories_of(examples, policy)
    loss = MaximumLikelihood().loss(policy, Batch(collate(expert, None), None, 1.0, step=0, steps=1))
    gradients = torch.autograd.grad(loss.total / sum(len(each.actions) for each in expert), policy.model.parameters())
    norm = float(torch.stack([gradient.norm() for gradient in gradients]).norm())
    for parts in (1, 4):
        rows: list[Mapping[str, float]] = []
        optimization = replace(context.optimization, batch_size=8, accumulation=parts)
        here = replace(context, optimization=optimization, report=rows.append, meter=type(context.meter)())
        MaximumLikelihood().fit(make_policy(backspace=False), examples, Budget(steps=1), here)
        assert rows[0]["grad_norm"] == pytest.approx(norm, rel=1e-5)
