from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import GPT2Config, GPT2LMHeadModel

from trainers.base import Budget, Context, Loss, Optimization, Trainer, TrainerError
from trainers.batches import Batch, Trajectory
from trainers.behavioral_cloning import BehavioralCloning
from trainers.mle import MaximumLikelihood
from trainers.policy import Policy
from trainers.pretrained import Pretrained
from trainers.sequence_match import SequenceMatch, SequenceMatchBackspace
from trainers.unlikelihood import Unlikelihood

if TYPE_CHECKING:
    from trainers.base import Preparation

MakePolicy = Callable[..., Policy]
TRAINERS = [
    MaximumLikelihood(),
    Unlikelihood(),
    BehavioralCloning(noise=0.3),
    SequenceMatch(cloning_share=0.3, refresh_every=3, refresh=8),
    SequenceMatchBackspace(cloning_share=0.3, refresh_every=3, refresh=8, noise=0.3),
]
NAMES = [type(trainer).__name__ for trainer in TRAINERS]


def fit(
    trainer: Trainer,
    policy: Policy,
    examples: Dataset,
    context: Context,
    budget: Budget | None = None,
    **changes: object,
) -> tuple[Policy, list[Mapping[str, float]]]:
    rows: list[Mapping[str, float]] = []
    optimization = replace(context.optimization, **changes)
    context = replace(context, report=rows.append, optimization=optimization, meter=type(context.meter)())
    return trainer.fit(policy, examples, budget or Budget(steps=10), context), rows


def weights(policy: Policy) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in policy.model.parameters()])


@pytest.mark.parametrize("trainer", TRAINERS, ids=NAMES)
def test_same_seed_same_bits(trainer: Trainer, make_policy: MakePolicy, examples: Dataset, context: Context) -> None:
    first, second = (fit(trainer, make_policy(backspace=trainer.backspace), examples, context)[0] for _ in range(2))
    assert torch.equal(weights(first), weights(second))


@pytest.mark.parametrize(
    ("trainer", "cloning"),
    [
        (SequenceMatch(cloning_share=1.0), MaximumLikelihood()),
        (SequenceMatchBackspace(cloning_share=1.0, noise=0.3), BehavioralCloning(noise=0.3)),
    ],
    ids=["plain", "backspace"],
)
def test_with_cloning_alone_the_two_losses_are_one_bit_for_bit(
    trainer: Trainer, cloning: Trainer, make_policy: MakePolicy, examples: Dataset, context: Context
) -> None:
    first, second = (
        fit(each, make_policy(backspace=trainer.backspace), examples, context)[0] for each in (trainer, cloning)
    )
    assert torch.equal(weights(first), weights(second))


@pytest.mark.parametrize("axis", ["order", "noise", "rollout"])
def test_every_seed_axis_matters(axis: str, make_policy: MakePolicy, examples: Dataset, context: Context) -> None:
    trainer = SequenceMatchBackspace(cloning_share=0.3, refresh_every=3, refresh=8, noise=0.3)
    other = replace(context, seeds={**context.seeds, axis: 99})
    first, second = (fit(trainer, make_policy(), examples, each)[0] for each in (context, other))
    assert not torch.equal(weights(first), weights(second))


@pytest.mark.parametrize("trainer", TRAINERS, ids=NAMES)
def test_the_loss_falls_and_cloning_overfits(
    trainer: Trainer, make_policy: MakePolicy, examples: Dataset, context: Context
) -> None:
    policy = make_policy(backspace=trainer.backspace)
    _, rows = fit(trainer, policy, examples, context, Budget(steps=120))
    column = "cloning" if "cloning" in rows[0] else "loss"
    losses = [row[column] for row in rows]
    assert np.isfinite(losses).all()
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])


@dataclass(frozen=True, kw_only=True)
class Fewer(MaximumLikelihood):
    """Reads some of every batch."""

    read: int

    def prepare(self, expert: list[Trajectory], policy: Policy, context: Context) -> Preparation:
        return lambda trajectories, step: trajectories[: self.read]


def test_fewer_trajectories_than_micro_batches_are_read_all_the_same(
    make_policy: MakePolicy, examples: Dataset, context: Context
) -> None:
    whole, split = (
        fit(Fewer(read=2), make_policy(), examples, context, batch_size=8, accumulation=parts)[1] for parts in (1, 4)
    )
    assert [row["loss"] for row in split] == pytest.approx([row["loss"] for row in whole], abs=1e-5)
    assert [row["tokens"] for row in split] == [row["tokens"] for row in whole]
    with pytest.raises(TrainerError, match=r"at step 0 prepare\(\) leaves 0 trajectories for 1 processes"):
        fit(Fewer(read=0), make_policy(), examples, context)


@pytest.mark.parametrize("trainer", TRAINERS, ids=NAMES)
def test_accumulation_does_not_change_the_losses(
    trainer: Trainer, make_policy: MakePolicy, examples: Dataset, context: Context
) -> None:
    runs = [
        fit(trainer, make_policy(backspace=trainer.backspace), examples, context, batch_size=8, accumulation=parts)[1]
        for parts in (1, 2, 8)  # with 8, half of the micro-batches have no roll-out
    ]
    for whole, *splits in zip(*runs, strict=True):
        assert [split["loss"] for split in splits] == pytest.approx([whole["loss"]] * 2, abs=1e-5)
        assert [split["tokens"] for split in splits] == [whole["tokens"]] * 2


@pytest.mark.parametrize(
    "budget",
    [
        Budget(steps=7),
        Budget(steps=100, tokens=150),
        Budget(steps=100, generated_tokens=1),
        Budget(steps=100_000, seconds=0.3),
    ],
    ids=["steps", "tokens", "generated tokens", "seconds"],
)
def test_the_first_limit_of_the_budget_ends_training(
    budget: Budget, make_policy: MakePolicy, examples: Dataset, context: Context
) -> None:
    trainer = SequenceMatch(cloning_share=0.0, refresh=8)
    _, rows = fit(trainer, make_policy(backspace=False), examples, context, budget)
    spent = {name: rows[-1][{"steps": "step"}.get(name, name)] for name in ("steps", "tokens", "generated_tokens")}
    before = {name: rows[-2][{"steps": "step"}.get(name, name)] for name in spent} if len(rows) > 1 else None
    limits = {name: getattr(budget, name) for name in spent if getattr(budget, name)}
    too_long = budget.seconds is not None and rows[-1]["seconds"] >= budget.seconds
    assert too_long or any(spent[name] >= limit for name, limit in limits.items())
    if before:
        assert all(before[name] < limit for name, limit in limits.items())
        assert budget.seconds is None or rows[-2]["seconds"] < budget.seconds


def test_clocks_run_and_samples_are_counted(make_policy: MakePolicy, examples: Dataset, context: Context) -> None:
    trainer = SequenceMatch(cloning_share=0.5, refresh_every=2, refresh=8)
    policy = make_policy(backspace=False)
    _, rows = fit(trainer, policy, examples, context)
    assert rows[4]["generated_tokens"] == 0
    assert rows[5]["generated_tokens"] > 0
    last = rows[-1]
    expected = policy.parameters * (6 * last["tokens"] + 2 * last["generated_tokens"])
    assert last["flops"] == pytest.approx(expected)


def global_states() -> tuple[object, ...]:
    return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002


def test_global_random_state_is_left_alone(make_policy: MakePolicy, examples: Dataset, context: Context) -> None:
    policy = make_policy()
    before = global_states()
    fit(SequenceMatchBackspace(cloning_share=0.3, noise=0.3), policy, examples, context)
    assert global_states() == before


@dataclass(frozen=True, kw_only=True)
class Broken(MaximumLikelihood):
    def loss(self, policy: Policy, batch: Batch) -> Loss:
        loss = super().loss(policy, batch)
        return Loss(loss.total * (float("nan") if batch.step == 3 else 1.0), loss.steps)


def test_a_loss_that_is_not_finite_stops_training(make_policy: MakePolicy, examples: Dataset, context: Context) -> None:
    with pytest.raises(TrainerError, match="nan at step 3"):
        fit(Broken(), make_policy(backspace=False), examples, context)


def test_misuse_is_refused(make_policy: MakePolicy, examples: Dataset, context: Context) -> None:
    with pytest.raises(TrainerError, match="no training examples"):
        fit(MaximumLikelihood(), make_policy(backspace=False), examples.select([]), context)
    empty = Dataset.from_dict({"prompt": ["a", "b"], "completion": ["", ""], "finished": [False, False]})
    with pytest.raises(TrainerError, match="every completion of its batch is empty"):
        fit(MaximumLikelihood(), make_policy(backspace=False), empty, context)
    with pytest.raises(TrainerError, match="overrides neither"):
        fit(Trainer(), make_policy(backspace=False), examples, context)
    with pytest.raises(ValueError, match=r"accumulation must lie in \[1, batch_size = 4\]"):
        Optimization(batch_size=4, accumulation=5)
    with pytest.raises(ValueError, match="budget: steps must be positive"):
        Budget(steps=0)


def test_pretrained_spends_nothing(make_policy: MakePolicy, examples: Dataset, context: Context) -> None:
    policy = make_policy(backspace=False)
    before = weights(policy).clone()
    _, rows = fit(Pretrained(), policy, examples, context)
    assert rows == []
    assert torch.equal(weights(policy), before)


def test_training_sees_every_example_once_an_epoch(
    make_policy: MakePolicy, examples: Dataset, context: Context
) -> None:
    seen: list[int] = []

    @dataclass(frozen=True, kw_only=True)
    class Watching(MaximumLikelihood):
        def loss(self, policy: Policy, batch: Batch) -> Loss:
            seen.extend(int(row.sum()) for row in batch.data.input_ids)
            return super().loss(policy, batch)

    fit(Watching(), make_policy(backspace=False), examples, context, Budget(steps=4))
    assert len(seen) == 16
    assert sorted(seen[:8]) == sorted(seen[8:])
    assert seen[:8] != seen[8:]


def test_bf16_trains_float32_weights_and_leaves_the_model_as_it_was(
    make_policy: MakePolicy, examples: Dataset, context: Context
) -> None:
    trainer = SequenceMatchBackspace(cloning_share=0.3, refresh_every=3, refresh=8, noise=0.3)
    policies, rows = zip(
        *(fit(trainer, make_policy(), examples, context, Budget(steps=40), precision=each) for each in ("no", "bf16")),
        strict=True,
    )
    full, half = policies
    assert not torch.equal(weights(full), weights(half))
    assert rows[0][0]["loss"] == pytest.approx(rows[1][0]["loss"], rel=0.02)
    assert np.mean([row["cloning"] for row in rows[1][-5:]]) < 0.7 * rows[1][0]["cloning"]
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.float32}
    plain = make_policy().model
    plain.load_state_dict(half.model.state_dict())
    ids = torch.tensor([[0, 3, 4, 5]])
    assert torch.equal(half.model(ids).logits, plain(ids).logits), "no autocast is left on the trained model"


def dropout_policy(like: Policy) -> Policy:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=like.actions.size, n_embd=16, n_layer=2, n_head=2, n_positions=32, bos_token_id=0, eos_token_id=0
    )
    model = GPT2LMHeadModel(config)
    assert config.resid_pdrop > 0
    return Policy(model, like.tokenizer, like.actions)


@pytest.mark.parametrize("trainer", TRAINERS, ids=NAMES)
def test_dropout_is_drawn_from_its_own_seed(
    trainer: Trainer, make_policy: MakePolicy, examples: Dataset, context: Context
) -> None:
    like = make_policy(backspace=trainer.backspace)

    def trained(seed: int, noise: int) -> torch.Tensor:
        policy = dropout_policy(like)
        torch.manual_seed(noise)
        return weights(fit(trainer, policy, examples, replace(context, seeds={**context.seeds, "dropout": seed}))[0])

    assert torch.equal(trained(4, 1), trained(4, 2)), "global random state does not matter"
    assert not torch.equal(trained(4, 1), trained(5, 1))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"weight_decay": -0.1}, "weight_decay must be at least 0, got -0.1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"warmup": 1.5}, r"warmup is a share of the steps in \[0, 1\], got 1.5"),
        ({"accumulation": 3, "batch_size": 2}, r"accumulation must lie in \[1, batch_size = 2\], got 3"),
    ],
)
def test_settings_of_the_loop_that_make_no_sense_are_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=rf"optimization: {problem}"):
        Optimization(**settings)
