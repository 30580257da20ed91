"""To look at a policy in the middle of its training, and leave no trace there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate.utils import extract_model_from_parallel

from trainers.modes import evaluation_mode

if TYPE_CHECKING:
    from trainers.policy import Policy

_WRAPPERS = ("forward", "_original_forward")
"""What accelerate puts into a model that is trained in mixed precision, and takes out when it unwraps it."""


@contextmanager
def set_aside(policy: Policy) -> Iterator[Policy]:
    """Lend the policy as it would be if training ended now: in evaluation mode, unwrapped, in its own precision.

    Afterwards global random states (torch, numpy, Python), the mode of every module and the wrapping of the model are
    what they were, even if something was raised.
    """
    model = extract_model_from_parallel(policy.model)
    wrappers = {name: model.__dict__[name] for name in _WRAPPERS if name in model.__dict__}
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(), evaluation_mode(model):
            yield replace(policy, model=extract_model_from_parallel(model, keep_fp32_wrapper=False))
    finally:
        model.__dict__.update(wrappers)
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
