"""Adapters in place: roll-outs are those of the adapted model, and what is saved writes as what was trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset

from trainers.base import Budget, Context, Trainer
from trainers.batches import Trajectory
from trainers.decoding import Decoder
from trainers.model_spec import LoraSpec, ModelSpec
from trainers.models import build_policy, tokenizer_for
from trainers.policy import Policy
from trainers.replay import ReplayBuffer
from trainers.rollouts import Rollouts
from trainers.sequence_match import SequenceMatch, SequenceMatchBackspace

TEXTS = ["abcde", "ace", "bead", "cab", "deed", "ebb"]
PROMPTS = ["a", "", "bb", "c", "d", "ee"]


def adapted(spec: ModelSpec, backspace: bool) -> Policy:
    """A policy whose adapters matter as much as what they adapt."""
    wanted = replace(spec, lora=LoraSpec(rank=4, alpha=64.0))
    policy = build_policy(wanted, tokenizer_for(wanted, lambda: iter(TEXTS), None), backspace=backspace, seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            if parameter.requires_grad:
                parameter.normal_(generator=generator)
    return policy


def rollouts(policy: Policy, context: Context) -> list[Trajectory]:
    prompts = [tuple(policy.prompt_ids(prompt)) for prompt in PROMPTS]
    buffer = ReplayBuffer(prompts, context, Rollouts(batch=16, refresh=16, capacity=16))
    return buffer.draw(policy, 0)


@pytest.mark.parametrize("backspace", [False, True])
def test_roll_outs_come_from_the_adapted_model_and_so_does_what_is_saved(
    backspace: bool, spec: ModelSpec, context: Context, tmp_path: Path
) -> None:
    policy = adapted(spec, backspace)
    own = rollouts(policy, context)
    model: Any = policy.model
    with model.disable_adapter():
        assert rollouts(policy, context) != own
    policy.save(tmp_path)
    saved = Policy.load(tmp_path)
    assert rollouts(saved, context) == own
    walks = [each.generate(PROMPTS, Decoder(), 1, 6, 20)["actions"].tolist() for each in (policy, saved)]
    assert walks[0] == walks[1]
    assert rollouts(policy, context) == own, "saving leaves the adapters in place"


@pytest.mark.parametrize("trainer_class", [SequenceMatch, SequenceMatchBackspace])
def test_sequence_match_learns_from_roll_outs_of_adapters_as_they_are_then(
    trainer_class: type[SequenceMatch], spec: ModelSpec, examples: Dataset, context: Context
) -> None:
    drawn: list[tuple[list[tuple[int, ...]], list[tuple[int, ...]]]] = []

    class Watching(ReplayBuffer):
        def _sample(self, policy: Policy, rng: Any) -> None:
            from copy import deepcopy

            state = deepcopy(rng)
            super()._sample(policy, rng)
            adapted: Any = deepcopy(policy.model)
            merged = replace(policy, model=adapted.merge_and_unload())
            wanted = Rollouts(batch=1, refresh=self.rollouts.refresh, capacity=8)
            twin = ReplayBuffer(self.prompts, self.context, wanted)
            twin._sample(merged, state)
            own, theirs = ([each.actions for each in kept.kept][-8:] for kept in (self, twin))
            drawn.append((own, theirs))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainers.loop.ReplayBuffer", Watching)
        trainer: Trainer = trainer_class(cloning_share=0.0, refresh_every=4, refresh=8, buffer_size=8)
        wanted = replace(spec, lora=LoraSpec(rank=4, alpha=64.0))
        tokenizer = tokenizer_for(wanted, lambda: iter(TEXTS), None)
        policy = build_policy(wanted, tokenizer, backspace=trainer.backspace, seed=0)
        trainer.fit(policy, examples, Budget(steps=12), context)
    assert len(drawn) == 3
    assert all(own == twin for own, twin in drawn)
