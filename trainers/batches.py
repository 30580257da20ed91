"""From examples to padded tensors: trajectories, and batches of laid-out trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from trainers.actions import actions_of
from trainers.backspace import BACKSPACE, IGNORE, NEVER, layout

if TYPE_CHECKING:
    from datasets import Dataset

    from trainers.policy import Policy


@dataclass(frozen=True)
class Trajectory:
    """A prompt and the actions taken after it.

    Attributes:
        prompt: token ids, the start token first.
        actions: action ids.
        finished: whether the last action ends the text; otherwise the trajectory is cut, not absorbed.
        expert: per action, whether the expert took it (True) or the environment forced it (noise).
    """

    prompt: tuple[int, ...]
    actions: tuple[int, ...]
    finished: bool
    expert: tuple[bool, ...]


def trajectories_of(examples: Dataset, policy: Policy) -> list[Trajectory]:
    """Encode examples (columns ``prompt``, ``completion``, ``finished``) as expert trajectories."""
    finished: Sequence[bool] = examples["finished"] if "finished" in examples.column_names else [True] * len(examples)
    found = []
    for prompt, completion, ends in zip(examples["prompt"], examples["completion"], finished, strict=True):
        actions = actions_of(policy.encode(completion), policy.actions, ends)
        found.append(Trajectory(tuple(policy.prompt_ids(prompt)), actions, ends, (True,) * len(actions)))
    return found


@dataclass(frozen=True)
class Sequences:
    """Laid-out trajectories, right-padded to one length; every tensor has shape ``(batch, slots)``.

    The state of a slot is the visible text at it; its successor state, after the action ``labels``, is
    the next slot.

    Attributes:
        input_ids, position_ids: as in ``backspace.Layout``, 0 in the padding.
        death: as in ``backspace.Layout``.
        labels: action taken at the slot, ``IGNORE`` where none is.
        expert: bool, the expert took the action of this slot.
        step: index of the action in its trajectory, and at the last slot the number of actions.
        at_root: bool, only the prompt is visible.
        terminal: bool, the slot is the absorbing state after the end of the text.
        real: bool, the slot is not padding.
    """

    input_ids: Tensor
    position_ids: Tensor
    death: Tensor
    labels: Tensor
    expert: Tensor
    step: Tensor
    at_root: Tensor
    terminal: Tensor
    real: Tensor

    @property
    def tokens(self) -> int:
        """Number of slots that are not padding; each costs one forward pass of a token."""
        return int(self.real.sum())

    @property
    def acts(self) -> Tensor:
        """Bool, shape ``(batch, slots)``: the expert takes an action here."""
        return (self.labels != IGNORE) & self.expert

    def attention_mask(self) -> Tensor | None:
        """Bool mask ``(batch, 1, slots, slots)``, or None where plain causal attention is the same.

        Padding stands on the right, so no slot that counts can see it.
        """
        if bool((self.death == NEVER).all()):
            return None
        slot = torch.arange(self.death.shape[1], device=self.death.device)
        query, key = slot[None, :, None], slot[None, None, :]
        return ((key <= query) & (query < self.death[:, None, :]))[:, None]

    def to(self, device: torch.device) -> Sequences:
        """Copy to a device."""
        return Sequences(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True)
class Batch:
    """What a loss sees of one (micro-)batch.

    Attributes:
        data: trajectories of the data.
        rollouts: trajectories of the replay buffer, where the trainer wants any at this step.
        rollout_weight: trajectories of the data per roll-out, over all micro-batches: what makes sums over
            both comparable.
        step: optimiser step, from 0.
        steps: optimiser steps of the budget.
    """

    data: Sequences
    rollouts: Sequences | None
    rollout_weight: float
    step: int
    steps: int


def collate(trajectories: Sequence[Trajectory], bksp: int | None) -> Sequences:
    """Lay out and pad trajectories.

    Raises:
        ValueError: if there are none.
    """
    if not trajectories:
        raise ValueError("cannot lay out an empty batch")
    layouts = [layout(t.prompt, t.actions, bksp=BACKSPACE if bksp is None else bksp) for t in trajectories]
    shape = (len(layouts), max(len(one.input_ids) for one in layouts))
    columns = {
        "input_ids": np.zeros(shape, np.int64),
        "position_ids": np.zeros(shape, np.int64),
        "death": np.full(shape, NEVER, np.int64),
        "labels": np.full(shape, IGNORE, np.int64),
        "expert": np.zeros(shape, np.bool_),
        "step": np.zeros(shape, np.int64),
        "at_root": np.zeros(shape, np.bool_),
        "terminal": np.zeros(shape, np.bool_),
        "real": np.zeros(shape, np.bool_),
    }
    for row, (trajectory, one) in enumerate(zip(trajectories, layouts, strict=True)):
        first, slots = len(trajectory.prompt) - 1, len(one.input_ids)
        for name in ("input_ids", "position_ids", "death", "labels"):
            columns[name][row, :slots] = getattr(one, name)
        columns["expert"][row, first : slots - 1] = trajectory.expert
        columns["step"][row, first:slots] = np.arange(slots - first)
        columns["at_root"][row, first:slots] = one.position_ids[first:] == first
        columns["terminal"][row, slots - 1] = trajectory.finished
        columns["real"][row, :slots] = True
    return Sequences(**{name: torch.from_numpy(column) for name, column in columns.items()})
