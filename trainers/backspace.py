"""Layout of action sequences with backspace for a transformer.

``<bksp>`` is an output, never an input. Writing an action gives the transformer a new slot, and a stack
holds the slots whose tokens are visible:

- appending a token pushes a slot with that token, one position after the top;
- ``<bksp>`` pops the top; the new slot repeats token and position of the slot now on top, and replaces it.

Slot q may look at slot k iff ``k <= q < death[k]``, where ``death[k]`` is the slot at which k left the
stack. So every state sees exactly the visible text, at the positions of the plain text, and its logits
equal those of the plain text (Cundy & Ermon 2023, section 4, in interval form).

The actions ``a b c <bksp> d`` after the prompt ``s``::

    input_ids     s a b c b d
    position_ids  0 1 2 3 2 3
    death         - - 4 4 - -
    labels        a b c < d -
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IGNORE = -100
"""Label of a slot at which no action is taken (the convention of torch's cross-entropy)."""

BACKSPACE = -1
"""Stands for ``<bksp>`` in ``layout`` where the caller names no token id."""

NEVER = np.iinfo(np.int32).max
"""Death of a slot that stays visible."""


@dataclass(frozen=True)
class Layout:
    """One slot per prompt token and per action; all arrays are int64 of shape ``(slots,)``.

    Attributes:
        input_ids: token that the slot feeds to the model.
        position_ids: position of that token in the visible text.
        death: slot at which this slot stops being visible (``NEVER`` if it stays).
        labels: action taken at the slot, ``IGNORE`` where none is.
    """

    input_ids: NDArray[np.int64]
    position_ids: NDArray[np.int64]
    death: NDArray[np.int64]
    labels: NDArray[np.int64]

    def mask(self) -> NDArray[np.bool_]:
        """Dense attention mask, shape ``(slots, slots)``: True where the row's slot sees the column's."""
        slot = np.arange(len(self.death))
        query, key = slot[:, None], slot[None, :]
        return (key <= query) & (query < self.death[None, :])


def layout(prompt_ids: Sequence[int], actions: Sequence[int], *, bksp: int = BACKSPACE) -> Layout:
    """Lay out a prompt and the actions taken after it.

    Args:
        prompt_ids: at least one token; the prompt can never be erased.
        actions: token ids, with ``bksp`` where the last visible token is erased.
        bksp: the id that erases.

    Raises:
        ValueError: if the prompt is empty, or an action erases when only the prompt is visible.
    """
    if len(prompt_ids) == 0:
        raise ValueError("the prompt is empty: there is no state at which the first action could be taken")
    start = len(prompt_ids)
    slots = start + len(actions)
    labels = np.full(slots, IGNORE, dtype=np.int64)
    labels[start - 1 : slots - 1] = actions
    inputs = [*prompt_ids, *actions]
    if bksp not in actions:
        return Layout(
            np.array(inputs, np.int64), np.arange(slots, dtype=np.int64), np.full(slots, NEVER, np.int64), labels
        )
    positions, death = list(range(start)), [NEVER] * slots
    stack = list(range(start))
    for slot, action in enumerate(actions, start):
        if action == bksp:
            if len(stack) == start:
                raise ValueError(f"action {slot - start} erases, but only the prompt is visible")
            source = stack[-2]
            death[stack.pop()] = death[source] = slot
            inputs[slot] = inputs[source]
            stack[-1] = slot
        else:
            stack.append(slot)
        positions.append(len(stack) - 1)
    return Layout(np.array(inputs, np.int64), np.array(positions, np.int64), np.array(death, np.int64), labels)


def visible(actions: Sequence[int], bksp: int | None = BACKSPACE) -> list[int]:
    """The tokens still visible after some actions.

    Raises:
        ValueError: if an action erases when nothing is visible.
    """
    text: list[int] = []
    for index, action in enumerate(actions):
        if action != bksp:
            text.append(action)
        elif text:
            text.pop()
        else:
            raise ValueError(f"action {index} erases, but nothing is visible")
    return text
