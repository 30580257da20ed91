"""Small real models: random weights, the real Hugging Face classes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from datasets import Dataset

from trainers.base import Context, Optimization
from trainers.model_spec import FreshModel, ModelSpec
from trainers.models import build_policy, tokenizer_for
from trainers.policy import Policy

TEXTS = ["abcde", "ace", "bead", "cab", "deed", "ebb"]


@pytest.fixture(scope="session")
def spec() -> ModelSpec:
    return ModelSpec(
        fresh=FreshModel(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, merges=0, alphabet="seen"
        )
    )


@pytest.fixture
def make_policy(spec: ModelSpec) -> Callable[..., Policy]:
    """A policy over the letters a to e; sharper than a fresh one, and it likes to erase."""

    def make(*, backspace: bool = True, seed: int = 0, sharpness: float = 20.0) -> Policy:
        policy = build_policy(spec, tokenizer_for(spec, lambda: iter(TEXTS), None), backspace=backspace, seed=seed)
        head = policy.model.get_output_embeddings().weight.data
        head.normal_(std=0.02 * sharpness, generator=torch.Generator().manual_seed(seed))
        head[policy.actions.eos] = 0
        policy.model.eval()
        return policy

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
