"""At which slots, and for which actions, a trainer pushes: the gradients of the logits, whoever computes the loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
        ids: token ids, padding included, shape ``(slots,)``.
        start: slot of the first token.
        prompt: number of tokens of the prompt.
        end: slot after the last token of prompt, completion and, where it stands in the row, its end.
        logits, gradients: shape ``(slots, actions)``; 0 where no logits were computed.
    """

    ids: list[int]
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
        return [slot for slot in range(self.start + self.prompt, self.end - 1) if self.ids[slot + 1] == bksp]

    def favour(self, slot: int, action: int) -> float:
        """By how much the action is lowered, more (or, negative, raised) than its share in the sum over all actions."""
        gradient = self.gradients[slot]
        return float(gradient[action] - gradient.sum() * self.logits[slot].softmax(-1)[action])


def trained_rows(subject: TrainerSubject, examples: Dataset, **fit: Any) -> list[Row]:
    """Train, and watch the rows that are examples; roll-outs are left out.

    The check is skipped where no gradient is seen, or rows are laid out in another way.
    """
    policy = subject.policy()
    with _watched(policy) as passes:
        subject.fit(policy=policy, examples=examples, **fit)
    if not any(bool(gradients.any()) for _, _, gradients in passes):
        skip("no gradient was seen at the model's output layer")
    known = [
        (policy.encode(prompt), policy.encode(completion))
        for prompt, completion in zip(examples["prompt"], examples["completion"], strict=True)
    ]
    rows = [
        row
        for ids, logits, gradients in passes
        for each in zip(ids.tolist(), logits, gradients, strict=True)
        if (row := _located(*each, known, policy))
    ]
    if not rows:
        skip("no row of the model's input is a prompt followed by its completion")
    return rows


def _located(ids: list[int], logits: Tensor, gradients: Tensor, known: Any, policy: Policy) -> Row | None:
    """The row as an example, if it is one: padding, perhaps a start token, the prompt, the completion, perhaps its end."""
    space = policy.actions
    outside = {space.start, space.eos, *space.forbidden}
    start = next((slot for slot, token in enumerate(ids) if token not in outside), len(ids))
    first = start - 1 if start and ids[start - 1] == space.start else start
    end = next((slot for slot in range(start, len(ids)) if ids[slot] in outside), len(ids))
    body = ids[start:end]
    for prompt, completion in known:
        walk = body[len(prompt) :]
        if body[: len(prompt)] != prompt or (walk and walk[0] == space.bksp):
            continue
        if (walk if space.bksp is None else visible(walk, space.bksp)) == completion:
            ended = end + (end < len(ids) and ids[end] == space.eos)
            return Row(ids, first, start - first + len(prompt), ended, logits, gradients)
    return None


@contextmanager
def _watched(policy: Policy) -> Iterator[list[tuple[Tensor, Tensor, Tensor]]]:
    """Collect ``(ids, logits, gradients)`` of every forward pass with gradients; the trainer may select slots."""
    passes: list[tuple[Tensor, Tensor, Tensor]] = []
    open_pass: dict[str, Tensor] = {}

    def read_ids(layer: object, inputs: tuple[Tensor, ...]) -> None:
        del layer
        open_pass["ids"] = inputs[0].detach()

    def tell_apart(layer: object, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        del layer
        hidden, ids = inputs[0], open_pass.get("ids")
        open_pass.pop("states", None)
        if not torch.is_grad_enabled() or ids is None or hidden.shape[:-1] != ids.shape:
            return None
        apart = torch.arange(ids.numel(), dtype=hidden.dtype).view(*ids.shape, 1) * APART
        hidden = torch.cat([hidden[..., :1] + apart, hidden[..., 1:]], -1)
        open_pass["states"] = hidden.detach().flatten(0, 1)
        return (hidden,)

    def note(layer: object, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        del layer
        states, ids = open_pass.get("states"), open_pass.get("ids")
        if states is None or ids is None or not output.requires_grad:
            return
        asked = inputs[0].detach().reshape(-1, states.shape[-1])
        slots = (asked[:, None] == states[None]).all(-1).float().argmax(-1)
        shape = (ids.numel(), output.shape[-1])
        logits = torch.zeros(shape).index_copy(0, slots, output.detach().reshape(-1, shape[1]).float())
        gradients = torch.zeros(shape)
        passes.append((ids, logits.view(*ids.shape, -1), gradients.view(*ids.shape, -1)))
        output.register_hook(lambda gradient: _add(gradients, slots, gradient.reshape(-1, shape[1])))

    head = policy.model.get_output_embeddings()
    handles = [
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
    gradients.index_add_(0, slots, found.detach().float())
