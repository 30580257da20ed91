"""A training that is stopped after any step and goes on from its snapshot ends with the bits of one that was not."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from trainers.base import Budget, Context, Meter, Trainer
from trainers.behavioral_cloning import BehavioralCloning
from trainers.checkpoints import Snapshot
from trainers.mle import MaximumLikelihood
from trainers.policy import Policy
from trainers.sequence_match import SequenceMatch, SequenceMatchBackspace
from trainers.unlikelihood import Unlikelihood

MakePolicy = Callable[..., Policy]
STEPS = 6


class StoppedError(Exception):
    """The process dies."""


class Kept:
    """Keeps the last snapshot as a file would, and stops training after some step."""

    def __init__(self, every: int = 1, stop_after: int | None = None) -> None:
        self.every, self.stop_after, self.kept, self.saved = every, stop_after, None, 0
        self.kept: Snapshot | None

    def load(self) -> Snapshot | None:
        return self.kept

    def due(self, step: int) -> bool:
        return step % self.every == 0

    def save(self, snapshot: Snapshot) -> None:
        self.saved += 1
        self.kept = Snapshot(snapshot.tensors, json.loads(json.dumps(snapshot.data)))
        if self.stop_after is not None and self.saved * self.every >= self.stop_after:
            raise StoppedError


TRAINERS: list[Trainer] = [
    MaximumLikelihood(),
    Unlikelihood(),
    BehavioralCloning(noise=0.2, noise_kind="policy"),
    SequenceMatch(cloning_share=0.3, refresh_every=2, refresh=4, buffer_size=6),
    SequenceMatchBackspace(cloning_share=0.3, refresh_every=3, refresh=4, buffer_size=6, levels="head"),
]


def fit(
    trainer: Trainer, policy: Policy, examples: Dataset, context: Context, checkpoints: Kept
) -> tuple[dict[str, torch.Tensor], list[dict[str, float]], Meter]:
    rows: list[Mapping[str, float]] = []
    here = replace(
        context,
        optimization=replace(context.optimization, batch_size=3, log_every=1),
        meter=Meter(),
        report=rows.append,
        checkpoints=checkpoints,
    )
    trained = trainer.fit(policy, examples, Budget(steps=STEPS), here)
    curve = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
    return {name: each.clone() for name, each in trained.model.state_dict().items()}, curve, here.meter


def spent(meter: Meter) -> dict[str, float]:
    return {name: value for name, value in meter.state().items() if name != "seconds"}


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_a_training_that_is_stopped_goes_on_to_the_same_bits(
    trainer: Trainer, stop_after: int, make_policy: MakePolicy, examples: Dataset, context: Context
) -> None:
    def policy() -> Policy:
        made = make_policy(backspace=trainer.backspace)
        made.model.config.attention_dropout = 0.2
        for layer in made.model.model.layers:
            layer.self_attn.attention_dropout = 0.2
        return made

    weights, curve, meter = fit(trainer, policy(), examples, context, Kept())
    stopped = Kept(stop_after=stop_after)
    with pytest.raises(StoppedError):
        fit(trainer, policy(), examples, context, stopped)
    stopped.stop_after = None
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    again, rest, again_meter = fit(trainer, policy(), examples, context, stopped)
    assert rest == curve[stop_after:]
    assert spent(again_meter) == spent(meter)
    assert list(again) == list(weights)
    for name, tensor in weights.items():
        assert torch.equal(tensor, again[name]), name


class Slow(Kept):
    def save(self, snapshot: Snapshot) -> None:
        super().save(snapshot)
        time.sleep(0.5)


def test_checkpoints_are_off_the_clock(make_policy: MakePolicy, examples: Dataset, context: Context) -> None:
    kept, policy = Slow(every=2), make_policy(backspace=TRAINERS[0].backspace)
    started = time.monotonic()
    _, _, meter = fit(TRAINERS[0], policy, examples, context, kept)
    assert kept.saved >= 2
    assert meter.seconds <= time.monotonic() - started - 0.5 * kept.saved


def test_a_checkpoint_of_a_gpu_is_gone_on_with_without_one(
    make_policy: MakePolicy, examples: Dataset, context: Context
) -> None:
    stopped = Kept(stop_after=3)
    with pytest.raises(StoppedError):
        fit(TRAINERS[0], make_policy(backspace=TRAINERS[0].backspace), examples, context, stopped)
    assert stopped.kept is not None
    stopped.kept.tensors["random.cuda"] = torch.zeros(16, dtype=torch.uint8)
    stopped.stop_after = None
    _, rest, _ = fit(TRAINERS[0], make_policy(backspace=TRAINERS[0].backspace), examples, context, stopped)
    assert len(rest) == STEPS - 3


def test_a_training_stopped_again_and_again_ends_the_same(
    make_policy: MakePolicy, examples: Dataset, context: Context
) -> None:
    trainer, kept, stops = TRAINERS[3], Kept(every=2), 0
    weights, _, _ = fit(trainer, make_policy(backspace=False), examples, context, Kept())
    for stop_after in (2, 2, 2):
        kept.saved, kept.stop_after = 0, stop_after
        with pytest.raises(StoppedError):
            fit(trainer, make_policy(backspace=False), examples, context, kept)
        stops += 1
    kept.stop_after = None
    again, rest, _ = fit(trainer, make_policy(backspace=False), examples, context, kept)
    assert stops == 3
    assert rest == []
    assert all(torch.equal(tensor, again[name]) for name, tensor in weights.items())


def test_adapters_are_kept_without_the_frozen_weights(
    make_policy: MakePolicy, examples: Dataset, context: Context
) -> None:
    from peft import LoraConfig, get_peft_model

    def policy() -> Policy:
        made = make_policy(backspace=False)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            lora: Any = get_peft_model(made.model, LoraConfig(r=2, lora_dropout=0.3, target_modules="all-linear"))
        return replace(made, model=lora)

    weights, _, _ = fit(TRAINERS[0], policy(), examples, context, Kept())
    stopped = Kept(stop_after=2)
    with pytest.raises(StoppedError):
        fit(TRAINERS[0], policy(), examples, context, stopped)
    assert stopped.kept is not None
    kept = [name for name in stopped.kept.tensors if name.startswith("model.")]
    assert kept
    assert all("lora" in name for name in kept if "inv_freq" not in name)
    stopped.stop_after = None
    again, _, _ = fit(TRAINERS[0], policy(), examples, context, stopped)
    assert all(torch.equal(tensor, again[name]) for name, tensor in weights.items())


def test_a_snapshot_is_not_changed_by_what_follows(
    make_policy: MakePolicy, examples: Dataset, context: Context
) -> None:
    class All(Kept):
        def save(self, snapshot: Snapshot) -> None:
            super().save(snapshot)
            found.append((snapshot, {name: each.clone() for name, each in snapshot.tensors.items()}))

    found: list[tuple[Snapshot, dict[str, torch.Tensor]]] = []
    fit(TRAINERS[0], make_policy(backspace=False), examples, context, All())
    assert len(found) == STEPS
    for snapshot, copy in found:
        assert all(torch.equal(tensor, copy[name]) for name, tensor in snapshot.tensors.items())
    first, last = found[0][0].tensors, found[-1][0].tensors
    assert any(not torch.equal(first[name], last[name]) for name in first if name.startswith("model."))


@given(st.integers(0, 10**6), st.integers(0, 10**12), st.floats(0, 1e30), st.floats(0, 1e6))
def test_a_meter_goes_back_to_its_state(steps: int, tokens: int, flops: float, seconds: float) -> None:
    meter = Meter(steps=steps, tokens=tokens, generated_tokens=tokens + 1, flops=flops)
    state = json.loads(json.dumps({**meter.state(), "seconds": seconds}))
    other = Meter()
    other.restore(state)
    assert spent(other) == spent(meter)
    assert other.seconds == pytest.approx(seconds, abs=1.0)
    assert isinstance(other.tokens, int)
