"""On a GPU training is what it is on a CPU, goes on from checkpoints, and stays finite in half precision."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from datasets import Dataset

from trainers.base import Budget, Context, Meter, Optimization, Trainer
from trainers.behavioral_cloning import BehavioralCloning
from trainers.checkpoints import Snapshot
from trainers.decoding import Decoder
from trainers.mle import MaximumLikelihood
from trainers.model_spec import FreshModel, LoraSpec, ModelSpec
from trainers.models import build_policy, tokenizer_for
from trainers.policy import Policy
from trainers.sequence_match import SequenceMatchBackspace

TEXTS = ["abcde", "ace", "bead", "cab", "deed", "ebb"]
DATA = Dataset.from_dict(
    {
        "prompt": ["a", "", "bb", "c", "d", "ee", "ab", "cd"],
        "completion": ["bcde", "ace", "ead", "ab", "eed", "bb", "abc", "e"],
        "finished": [True, True, True, False, True, True, False, True],
    }
)
SPEC = ModelSpec(
    fresh=FreshModel(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, merges=0, alphabet="seen"
    )
)
TRAINERS: list[Trainer] = [
    MaximumLikelihood(),
    BehavioralCloning(noise=0.3),
    SequenceMatchBackspace(cloning_share=0.3, refresh_every=3, refresh=8, noise=0.3),
]
STEPS = 20


class Kept:
    """Keeps the snapshot after half of the steps, as a file would."""

    def __init__(self, kept: Snapshot | None = None) -> None:
        self.kept = kept

    def load(self) -> Snapshot | None:
        return self.kept

    def due(self, step: int) -> bool:
        return step == STEPS // 2

    def save(self, snapshot: Snapshot) -> None:
        self.kept = Snapshot(snapshot.tensors, json.loads(json.dumps(snapshot.data)))


def policy_of(trainer: Trainer, spec: ModelSpec = SPEC) -> Policy:
    return build_policy(spec, tokenizer_for(spec, lambda: iter(TEXTS), None), backspace=trainer.backspace, seed=0)


def fit(trainer: Trainer, policy: Policy, kept: Kept | None = None, **changes: Any) -> list[Mapping[str, float]]:
    rows: list[Mapping[str, float]] = []
    context = Context(
        seeds={"order": 1, "noise": 2, "rollout": 3, "dropout": 4},
        optimization=Optimization(batch_size=4, learning_rate=3e-3, log_every=1, **changes),
        meter=Meter(),
        max_new_tokens=6,
        max_actions=20,
        report=rows.append,
    )
    trainer.fit(policy, DATA, Budget(steps=STEPS), replace(context, checkpoints=kept) if kept else context)
    return rows


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Choose where accelerate trains."""

    def choose(cpu: bool) -> None:
        monkeypatch.setenv("ACCELERATE_USE_CPU", str(cpu).lower())
        AcceleratorState._reset_state(reset_partial_state=True)
        PartialState(cpu=cpu)

    return choose


def test_an_untrained_policy_and_a_saved_one_sample_there(tmp_path: Path) -> None:
    policy = policy_of(MaximumLikelihood())
    policy.save(tmp_path / "policy")
    saved = Policy.load(tmp_path / "policy")
    assert {policy.device.type, saved.device.type} == {"cuda"}
    samples = [each.generate(TEXTS, Decoder(), 0, 6, 20) for each in (saved, policy)]
    pd.testing.assert_frame_equal(*samples)


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: type(trainer).__name__)
def test_losses_are_those_of_a_cpu(trainer: Trainer, on_cpu: Callable[[bool], None]) -> None:
    losses, places = [], []
    for cpu in (True, False):
        on_cpu(cpu)
        policy = policy_of(trainer)
        losses.append([row["loss"] for row in fit(trainer, policy)])
        places.append(policy.device.type)
    assert places == ["cpu", "cuda"]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: type(trainer).__name__)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_bf16_is_finite_learns_and_samples(trainer: Trainer, checkpointing: bool) -> None:
    policy = policy_of(trainer, replace(SPEC, gradient_checkpointing=checkpointing))
    rows = fit(trainer, policy, precision="bf16")
    column = "cloning" if "cloning" in rows[0] else "loss"
    assert all(torch.isfinite(torch.tensor(row["grad_norm"])) for row in rows)
    assert rows[-1][column] < rows[0][column]
    assert {each.dtype for each in policy.model.parameters()} == {torch.float32}
    assert len(policy.generate(["a", "bb"], Decoder(), 0, 6, 20)) == 2


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: type(trainer).__name__)
def test_training_goes_on_from_a_snapshot(trainer: Trainer) -> None:
    spec, kept = replace(SPEC, lora=LoraSpec(rank=4, dropout=0.3)), Kept()
    whole = fit(trainer, policy_of(trainer, spec), kept)
    resumed = fit(trainer, policy_of(trainer, spec), Kept(kept.kept))
    assert len(resumed) == STEPS // 2
    losses = [[row["loss"] for row in rows[-STEPS // 2 :]] for rows in (whole, resumed)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4, abs=1e-4)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="needs seqmatch[quantization]")
def test_adapters_learn_on_four_bits_in_bf16_and_are_saved_in_full(tmp_path: Path) -> None:
    trainer = TRAINERS[-1]
    policy_of(MaximumLikelihood()).save(tmp_path / "base")
    spec = ModelSpec(path=str(tmp_path / "base"), quantization="nf4", dtype="bfloat16", lora=LoraSpec(rank=4))
    policy = policy_of(trainer, spec)
    assert policy.device.type == "cuda"
    rows = fit(trainer, policy, precision="bf16")
    assert rows[-1]["cloning"] < rows[0]["cloning"]
    policy.save(tmp_path / "policy")
    saved = Policy.load(tmp_path / "policy")
    texts = ["a", "bb", "c"], ["ce", "e", "ab"], [True] * 3
    ours, theirs = (each.log_likelihood(*texts)[0] for each in (policy, saved))
    assert ours == pytest.approx(theirs, rel=0.05, abs=0.2)
