"""The text of every action, so that a walk can be replayed from its table without a tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from metrics.base import Actions
    from trainers.policy import Policy

Decode = Callable[[list[int]], str]


def with_action_texts(generations: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """Generations with a column ``action_texts`` more, a list per sample, read with the tokenizer of the policy."""

    def decode(ids: list[int]) -> str:
        return str(policy.tokenizer.decode(ids))

    table = generations.copy()
    table["action_texts"] = [action_texts(taken, policy.actions, decode) for taken in generations["actions"]]
    return table


def action_texts(taken: Sequence[int], actions: Actions, decode: Decode) -> list[str | None]:
    """What each action adds to the text.

    A token that was erased is read in the text that was visible just before, one that stayed in the final text. A
    character that several tokens spell belongs to the last of them.

    Args:
        taken: token ids, end of sequence and backspace included.
        actions: which ids end and erase.
        decode: turns token ids into text.

    Returns:
        A text per action: None where it erases, and empty where it ends. Those of the tokens that stayed, joined, are
        the final text as ``decode`` gives it.
    """
    texts: list[str | None] = [""] * len(taken)
    visible = list[int]()  # indices into taken

    def settle() -> None:
        """Give the visible tokens the texts that they have now; an erased one keeps the last that it had."""
        for index, piece in zip(visible, pieces([taken[index] for index in visible], decode), strict=True):
            texts[index] = piece

    for step, action in enumerate(taken):
        if action == actions.bksp:
            if taken[step - 1] != action:
                settle()
            texts[step] = None
            visible.pop()
        elif action != actions.eos:
            visible.append(step)
    settle()
    return texts


def pieces(ids: Sequence[int], decode: Decode) -> list[str]:
    """Split the text of some tokens into what each of them adds; the pieces joined are ``decode(ids)``.

    Args:
        ids: token ids.
        decode: turns token ids into text; a token need not be whole characters.
    """
    whole = decode(list(ids))
    alone = [decode([each]) for each in ids]
    if "".join(alone) == whole:
        return alone
    ends = [0]
    for count in range(1, len(ids)):
        ends.append(max(ends[-1], _shared(decode(list(ids[:count])), whole)))
    return [whole[start:end] for start, end in pairwise([*ends, len(whole)])]


def _shared(first: str, second: str) -> int:
    """Characters that two texts begin with alike."""
    return next(
        (at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
