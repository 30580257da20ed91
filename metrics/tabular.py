"""Policies and languages small enough to be written down, for which every metric has a closed form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ActionIds:
    """Ids of the special actions of a ``TabularPolicy``."""

    eos: int
    bksp: int | None


@dataclass(frozen=True)
class TabularLanguage:
    """A finite language given by its strings (see ``metrics.base.FiniteLanguage``)."""

    alphabet: tuple[str, ...]
    max_length: int
    strings: tuple[tuple[int, ...], ...]
    probabilities: np.ndarray


@dataclass(frozen=True)
class TabularPolicy:
    """A policy without memory over single characters (see ``metrics.base.ScoredPolicy``).

    Character ``i`` of the alphabet is action ``i``, end of sequence comes next and backspace last.

    Attributes:
        alphabet: the characters.
        table: probabilities of all actions after the visible token ids (prompt included).
        backspace: whether the last action is backspace; the table gives it 0 where nothing can be erased.
    """

    alphabet: str
    table: Callable[[tuple[int, ...]], Sequence[float]]
    backspace: bool = False

    @property
    def actions(self) -> ActionIds:
        size = len(self.alphabet)
        return ActionIds(eos=size, bksp=size + 1 if self.backspace else None)

    def encode(self, text: str) -> list[int]:
        """Index of every character; ValueError for one that is not in the alphabet."""
        return [self.alphabet.index(character) for character in text]

    def log_likelihood(
        self, prompts: Sequence[str], completions: Sequence[str], finished: Sequence[bool]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log-probability (nats) and number of tokens, both of shape ``(n,)``, backspace masked out."""
        scores, counts = [], []
        for prompt, completion, ended in zip(prompts, completions, finished, strict=True):
            visible, start = self.encode(prompt + completion), len(prompt)
            taken = visible[start:] + [self.actions.eos] * bool(ended)
            rows = [self._row(visible[: start + step])[: self.actions.eos + 1] for step in range(len(taken))]
            scores.append(sum(float(np.log(row[token] / row.sum())) for row, token in zip(rows, taken, strict=True)))
            counts.append(len(taken))
        return np.array(scores), np.array(counts)

    def path_probabilities(self, prompt: str, paths: np.ndarray, decoder: Any = None) -> np.ndarray:
        """Probabilities along paths of shape ``(n, length)``; ``decoder`` is a function of one distribution."""
        start, warp = self.encode(prompt), decoder or (lambda row: row)
        return np.array(
            [[warp(self._row([*start, *path[:length]])) for length in range(len(path) + 1)] for path in paths.tolist()]
        )

    def _row(self, visible: list[int]) -> np.ndarray:
        return np.asarray(self.table(tuple(visible)), dtype=np.float64)
