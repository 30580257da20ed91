"""What a policy wrote and erased on its way to a text, read off its actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from metrics.base import Actions, MetricError


@dataclass(frozen=True)
class Token:
    """One token that was written.

    Attributes:
        text: the visible token ids after it, itself the last.
        erased: whether it was erased later on.
    """

    text: tuple[int, ...]
    erased: bool


@dataclass(frozen=True)
class Erasure:
    """A run of backspaces.

    Attributes:
        step: index of its first backspace among the actions.
        before: the token ids visible before it.
        kept: how many of them stayed.
        after: the token ids visible before the next run, or at the end of the walk.
    """

    step: int
    before: tuple[int, ...]
    kept: int
    after: tuple[int, ...]

    @property
    def depth(self) -> int:
        """Tokens erased."""
        return len(self.before) - self.kept

    @property
    def undone(self) -> bool:
        """Whether the token that had stood there was written again right afterwards."""
        return self.after[self.kept : self.kept + 1] == self.before[self.kept : self.kept + 1]


@dataclass(frozen=True)
class Walk:
    """The actions of one generation.

    Attributes:
        tokens: every token written, in the order of writing.
        erasures: every run of backspaces.
        text: the token ids visible in the end.
    """

    tokens: list[Token]
    erasures: list[Erasure]
    text: tuple[int, ...]


def walk(taken: Sequence[int], actions: Actions) -> Walk:
    """Replay the actions of one generation.

    Args:
        taken: token ids, end of sequence and backspace included.
        actions: which ids end and erase.

    Raises:
        MetricError: if an action erases when nothing is visible, or follows the end of the sequence.
    """
    texts: list[tuple[int, ...]] = []
    visible: list[int] = []
    runs: list[tuple[int, tuple[int, ...]]] = []
    kept: list[int] = []
    erased: set[int] = set()
    text: tuple[int, ...] = ()
    previous: int | None = None
    for step, action in enumerate(taken):
        if previous == actions.eos:
            raise MetricError(f"action {step} follows the end of the sequence")
        if action == actions.bksp:
            if not text:
                raise MetricError(f"action {step} erases, but nothing is visible")
            if previous != action:
                runs.append((step, text))
                kept.append(len(text))
            erased.add(visible.pop())
            kept[-1] -= 1
            text = text[:-1]
        elif action != actions.eos:
            visible.append(len(texts))
            text = (*text, action)
            texts.append(text)
        previous = action
    afters = [*(before for _, before in runs[1:]), text]
    return Walk(
        tokens=[Token(each, index in erased) for index, each in enumerate(texts)],
        erasures=[Erasure(*run, stays, after) for run, stays, after in zip(runs, kept, afters, strict=False)],
        text=text,
    )


def erasure_table(generations: pd.DataFrame, actions: Actions, decode: Callable[[list[int]], str]) -> pd.DataFrame:
    """List every run of backspaces with the text before and after it, to be read.

    Args:
        generations: the table of ``metrics.base.Metric``, columns ``prompt`` and ``actions``.
        actions: which ids end and erase.
        decode: turns token ids into text.

    Returns:
        A row per run: ``sample`` (row of the generations), ``prompt, step, depth``, and the completion as text:
        ``before`` the run, what was ``erased``, and ``after`` it, up to the next run or the end of the walk.

    Raises:
        MetricError: as ``walk``.
    """
    columns = ["sample", "prompt", "step", "depth", "before", "erased", "after"]
    rows = [
        (
            sample,
            prompt,
            each.step,
            each.depth,
            decode(list(each.before)),
            decode(list(each.before[each.kept :])),
            decode(list(each.after)),
        )
        for sample, (prompt, taken) in enumerate(zip(generations["prompt"], generations["actions"], strict=True))
        for each in walk([int(action) for action in taken], actions).erasures
    ]
    return pd.DataFrame(rows, columns=columns)
