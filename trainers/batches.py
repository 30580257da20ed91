"""From examples to padded tensors: trajectories, and batches of laid-out trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from trainers.actions import actions_of
from trainers.backspace import BACKSPACE, IGNORE, NEVER, layout
from trainers.base import TrainerError

if TYPE_CHECKING:
    from datasets import Dataset
    from numpy.typing import NDArray

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

    def __len__(self) -> int:
        """Number of slots it takes: one per token of the prompt and per action."""
        return len(self.prompt) + len(self.actions)


def trajectories_of(examples: Dataset, policy: Policy) -> list[Trajectory]:
    """Encode examples (columns ``prompt``, ``completion``, ``finished``) as expert trajectories.

    Raises:
        TrainerError: if a completion spells out a token that no text may have (``<bksp>``, the end, padding).
    """
    space, text = policy.actions, frozenset(policy.actions.appendable)
    found = list[Trajectory]()
    for prompt, completion, ends in zip(examples["prompt"], examples["completion"], finished(examples), strict=True):
        tokens = policy.encode(completion)
        if not text.issuperset(tokens):
            wrong = policy.tokenizer.convert_ids_to_tokens(next(token for token in tokens if token not in text))
            raise TrainerError(
                f"example {len(found)}: its completion {completion[:80]!r} spells out {wrong!r}, which is a token of "
                "its own and no text: take it out of the data"
            )
        actions = actions_of(tokens, space, ends)
        found.append(Trajectory(tuple(policy.prompt_ids(prompt)), actions, ends, (True,) * len(actions)))
    return found


def finished(examples: Dataset) -> Sequence[bool]:
    """Whether the text of each example ends there, and is not cut: its column ``finished``, which may be absent."""
    found: Sequence[bool] = examples["finished"] if "finished" in examples.column_names else [True] * len(examples)
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

    def inputs(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """What the model is called with.

        The mask is additive, in the model's ``dtype``: every attention of transformers reads that right, while
        the eager one would add a bool mask as 0 and 1, and so see the future. Plain text goes without mask and
        positions: padding restarts them, which transformers takes for a second text in the row.
        """
        mask = self.attention_mask()
        if mask is None:
            return {"input_ids": self.input_ids}
        additive = torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, -torch.inf)
        return {"input_ids": self.input_ids, "attention_mask": additive, "position_ids": self.position_ids}

    def to(self, device: torch.device) -> Sequences:
        """Copy to a device."""
        return Sequences(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True)
class Batch:
    """What a loss sees of one (micro-)batch.

    Attributes:
        data: trajectories of the data.
        rollouts: trajectories of the replay buffer; None where the trainer wants none at this step, or there are more
            micro-batches than roll-outs.
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
    slots = np.array([[len(one.input_ids)] for one in layouts])
    first = np.array([[len(t.prompt) - 1] for t in trajectories])
    finished = np.array([[t.finished] for t in trajectories])
    slot = np.arange(slots.max())[None]
    real, walk = slot < slots, (slot >= first) & (slot < slots)

    def padded(rows: list[NDArray[Any]], fill: int, where: NDArray[np.bool_]) -> NDArray[Any]:
        column = np.full(where.shape, fill, rows[0].dtype)
        column[where] = np.concatenate(rows)
        return column

    position = padded([one.position_ids for one in layouts], 0, real)
    columns = {
        "input_ids": padded([one.input_ids for one in layouts], 0, real),
        "position_ids": position,
        "death": padded([one.death for one in layouts], NEVER, real),
        "labels": padded([one.labels for one in layouts], IGNORE, real),
        "expert": padded([np.array(t.expert, np.bool_) for t in trajectories], False, walk & (slot < slots - 1)),
        "step": np.where(walk, slot - first, 0),
        "at_root": walk & (position == first),
        "terminal": (slot == slots - 1) & finished,
        "real": real,
    }
    return Sequences(**{name: torch.from_numpy(column) for name, column in columns.items()})
