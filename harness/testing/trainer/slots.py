"""At which slots, and for which actions, a trainer pushes: the gradients of the logits, whoever computes the loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness.testing.battery import skip
from harness.testing.trainer.subject import TrainerSubject
from trainers.backspace import visible

if TYPE_CHECKING:
    from datasets import Dataset

    from trainers.policy import Policy

APART = 1e-5
"""Added to a hidden state, times its slot, so that the states of a batch can be told apart; logits hardly move."""


@dataclass(frozen=True)
class Row:
    """One row of a forward pass in training that is an example: its prompt, then its completion.

    Attributes:
        ids: token ids, padding included, one per slot.
        actions: the action taken at each slot but the last.
        start: slot of the first token.
        prompt: number of tokens of the prompt.
        end: slot after the last token of prompt, completion and, where it stands in the row, its end.
        logits, gradients: shape ``(slots, actions)``; 0 where no logits were computed.
    """

    ids: list[int]
    actions: list[int]
    start: int
    prompt: int
    end: int
    logits: Tensor
    gradients: Tensor

    @property
    def pushed(self) -> list[int]:
        """Slots whose logits have a gradient."""
        return self.gradients.abs().amax(-1).gt(0).nonzero().flatten().tolist()

    def erased(self, bksp: int | None) -> list[int]:
        """Slots of tokens that ``<bksp>`` takes back at once: the data has none, so they are noise."""
        return [slot for slot in range(self.start + self.prompt, self.end - 1) if self.actions[slot] == bksp]

    def favour(self, slot: int, action: int) -> float:
        """By how much the action is lowered, more (or, negative, raised) than its share in the sum over all actions."""
        gradient = self.gradients[slot]
        if not gradient.any():
            return 0.0
        possible = self.logits[slot].masked_fill(gradient == 0, -torch.inf).softmax(-1)
        return float(gradient[action] - gradient.sum() * possible[action])


def trained_rows(subject: TrainerSubject, examples: Dataset, **fit: Any) -> list[Row]:
    """Train, and watch the rows that are examples; roll-outs are left out.

    The check is skipped where no gradient is seen, or rows are laid out in another way.
    """
    policy = subject.policy()
    with _watched(policy) as passes:
        subject.fit(policy=policy, examples=examples, **fit)
    if not any(bool(each.gradients.any()) for each in passes):
        skip("no gradient was seen at the model's output layer")
    known = [
        (policy.encode(prompt), policy.encode(completion))
        for prompt, completion in zip(examples["prompt"], examples["completion"], strict=True)
    ]
    found = (
        _located(*row, known, policy) for each in passes for row in zip(each.ids.tolist(), *each.per_row(), strict=True)
    )
    rows = [row for row in found if row]
    if not rows:
        skip("no row of the model's input is a prompt followed by its completion")
    return rows


def _taken(ids: list[int], positions: list[int] | None, bksp: int | None) -> list[int]:
    """The actions of a row: ``<bksp>`` stands in the row, or shows in the positions, which go back by one."""
    if positions is None or bksp is None:
        return [*ids[1:]]
    steps = [after - before for before, after in pairwise(positions)]
    return [bksp if step <= 0 else token for step, token in zip(steps, ids[1:], strict=True)]


def _located(
    ids: list[int],
    positions: list[int] | None,
    logits: Tensor,
    gradients: Tensor,
    known: list[tuple[list[int], list[int]]],
    policy: Policy,
) -> Row | None:
    """The row as an example, if it is one: padding, perhaps a start token, prompt, completion, perhaps its end."""
    space = policy.actions
    outside = {space.start, space.eos, *space.forbidden}
    start = next((slot for slot, token in enumerate(ids) if token not in outside), len(ids))
    first = start - 1 if start and ids[start - 1] == space.start else start
    end = next((slot for slot in range(start, len(ids)) if ids[slot] in outside), len(ids))
    actions = _taken(ids, positions, space.bksp)
    for prompt, completion in known:
        root = start + len(prompt) - 1
        if ids[start : root + 1] == prompt and _text(actions[root : end - 1], space.bksp) == completion:
            ended = end + (end < len(ids) and ids[end] == space.eos)
            return Row(ids, actions, first, root + 1 - first, ended, logits, gradients)
    return None


def _text(actions: list[int], bksp: int | None) -> list[int] | None:
    """What is visible after some actions; None if they erase the prompt."""
    try:
        return actions if bksp is None else visible(actions, bksp)
    except ValueError:
        return None


@dataclass(frozen=True)
class _Pass:
    """One forward pass with gradients.

    Attributes:
        ids: shape ``(rows, slots)``.
        positions: as they were passed to the model, of the same shape; None if they were not.
        logits, gradients: shape ``(rows, slots, actions)``.
    """

    ids: Tensor
    positions: Tensor | None
    logits: Tensor
    gradients: Tensor

    def per_row(self) -> tuple[Iterable[list[int] | None], Tensor, Tensor]:
        """Positions, logits and gradients, row by row."""
        positions = [None] * len(self.ids) if self.positions is None else self.positions.tolist()
        return positions, self.logits, self.gradients


@contextmanager
def _watched(policy: Policy) -> Iterator[list[_Pass]]:
    """Collect every forward pass with gradients; the trainer may select the slots whose logits it wants."""
    passes: list[_Pass] = []
    open_pass: dict[str, Tensor] = {}

    def read_positions(model: object, inputs: tuple[Any, ...], given: dict[str, Any]) -> None:
        del model, inputs
        open_pass.clear()
        if isinstance(given.get("position_ids"), Tensor):
            open_pass["positions"] = given["position_ids"].detach()

    def read_ids(layer: object, inputs: tuple[Tensor, ...]) -> None:
        del layer
        open_pass["ids"] = inputs[0].detach()

    def tell_apart(layer: object, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        del layer
        hidden, ids = inputs[0], open_pass.get("ids")
        open_pass.pop("states", None)
        if not torch.is_grad_enabled() or ids is None or hidden.shape[:-1] != ids.shape:
            return None
        apart = torch.arange(ids.numel(), dtype=hidden.dtype, device=hidden.device).view(*ids.shape, 1) * APART
        hidden = torch.cat([hidden[..., :1] + apart, hidden[..., 1:]], -1)
        open_pass["states"] = hidden.detach().cpu().flatten(0, 1)
        return (hidden,)

    def note(layer: object, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        del layer
        states, ids = open_pass.get("states"), open_pass.get("ids")
        if states is None or ids is None or not output.requires_grad:
            return
        asked = inputs[0].detach().cpu().reshape(-1, states.shape[-1])
        slots = (asked[:, None] == states[None]).all(-1).float().argmax(-1)
        shape = (ids.numel(), output.shape[-1])
        logits = torch.zeros(shape).index_copy(0, slots, output.detach().cpu().reshape(-1, shape[1]).float())
        gradients = torch.zeros(shape)
        positions = open_pass.get("positions")
        positions = None if positions is None else positions.expand_as(ids)
        passes.append(_Pass(ids, positions, logits.view(*ids.shape, -1), gradients.view(*ids.shape, -1)))
        output.register_hook(lambda gradient: _add(gradients, slots, gradient.reshape(-1, shape[1])))

    head = policy.model.get_output_embeddings()
    handles = [
        policy.model.register_forward_pre_hook(read_positions, with_kwargs=True),
        policy.model.get_input_embeddings().register_forward_pre_hook(read_ids),
        head.register_forward_pre_hook(tell_apart),
        head.register_forward_hook(note),
    ]
    try:
        yield passes
    finally:
        for handle in handles:
            handle.remove()


def _add(gradients: Tensor, slots: Tensor, found: Tensor) -> None:
    gradients.index_add_(0, slots, found.detach().cpu().float())
