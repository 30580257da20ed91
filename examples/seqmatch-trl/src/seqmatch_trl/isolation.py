"""What trl changes besides the weights, and what it must not sample or score."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import numpy as np
import torch
from accelerate.utils import extract_model_from_parallel

from trainers.policy import Policy

IMPOSSIBLE = -1e4
"""Logit of a token that is no action; finite, because trl multiplies it by its probability, 0."""


@contextmanager
def actions_only(policy: Policy) -> Iterator[None]:
    """Within, the model itself gives no probability to tokens that are no action, as the policy does."""
    head, forbidden = policy.model.get_output_embeddings(), list(policy.actions.forbidden)
    bias = head.bias
    if bias is None:
        head.bias = torch.nn.Parameter(head.weight.new_zeros(len(head.weight)), requires_grad=False)
    kept = head.bias.data[forbidden].clone()
    head.bias.data[forbidden] = IMPOSSIBLE
    try:
        yield
    finally:
        head.bias.data[forbidden] = kept.to(head.bias.device)
        head.bias = bias


@contextmanager
def only_weights_change(policy: Policy) -> Iterator[None]:
    """Afterwards global random states and all of the model but its weights are as before, in evaluation mode."""
    model = policy.model
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    configs = [(each, copy.deepcopy(vars(each))) for each in (inner.config, inner.generation_config)]
    dropouts = [(each, each.p) for each in model.modules() if isinstance(each, torch.nn.Dropout)]
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(), actions_only(policy):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        policy.model = extract_model_from_parallel(model, keep_fp32_wrapper=False).eval()
        for module, name in product((model, inner), ("forward", "model_tags")):
            vars(module).pop(name, None)
        for module, share in dropouts:
            module.p = share
        for config, kept in configs:
            vars(config).update(kept)
