"""A small real model and a few examples, two of them cut."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from datasets import Dataset

from trainers.base import Budget, Context, Meter, Optimization, Trainer
from trainers.model_spec import FreshModel, LoraSpec, ModelSpec
from trainers.models import build_policy, tokenizer_for
from trainers.policy import Policy

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
torch.set_num_threads(1)
FRESH = FreshModel(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, merges=0, alphabet="seen"
)
Rows = list[Mapping[str, float]]
Fit = Callable[..., tuple[Policy, Rows]]


@pytest.fixture(scope="session")
def make_policy() -> Callable[..., Policy]:
    """A policy over the letters a to e, with two tokens that are no action."""
    spec = ModelSpec(fresh=FRESH)
    tokenizer = tokenizer_for(spec, lambda: iter(["abcde"]), None)

    def make(*, lora: LoraSpec | None = None) -> Policy:
        return build_policy(replace(spec, lora=lora), tokenizer, backspace=False, seed=0)

    return make


@pytest.fixture
def examples() -> Dataset:
    return Dataset.from_dict(
        {
            "prompt": ["a", "", "bb", "c", "d", "ee", "ab", "cd"],
            "completion": ["bcde", "ace", "ead", "ab", "eed", "bb", "abc", "e"],
            "finished": [True, True, True, False, True, True, False, True],
        }
    )


@pytest.fixture
def context() -> Context:
    return Context(
        seeds={"order": 1, "noise": 2, "rollout": 3, "dropout": 4},
        optimization=Optimization(batch_size=4, learning_rate=1e-2, log_every=1),
        max_new_tokens=6,
        max_actions=20,
    )


@pytest.fixture
def fit(make_policy: Callable[..., Policy], examples: Dataset, context: Context) -> Fit:
    """Train, and return the policy and the rows of its learning curve."""

    def run(
        trainer: Trainer,
        policy: Policy | None = None,
        budget: Budget | None = None,
        data: Dataset = examples,
        **changes,
    ) -> tuple[Policy, Rows]:
        rows: Rows = []
        optimization = replace(context.optimization, **changes)
        own = replace(context, report=rows.append, optimization=optimization, meter=Meter())
        return trainer.fit(policy or make_policy(), data, budget or Budget(steps=20), own), rows

    return run
