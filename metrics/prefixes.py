"""The prefixes of a finite language on the tree of all texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metrics.base import FiniteLanguage
from metrics.tree import Levels


@dataclass(frozen=True)
class Prefixes:
    """What a language has at every text of at most ``depth`` symbols; level t has shape ``(k**t,)``.

    Attributes:
        mass: probability that a string begins with the text; levels 0 to ``depth``.
        viable: whether any string does, whatever its probability.
        complete: whether the text is a string; levels 0 to ``depth - 1``, as longer ones cannot be ended.
    """

    mass: Levels
    viable: list[NDArray[np.bool_]]
    complete: list[NDArray[np.bool_]]


def prefixes(language: FiniteLanguage, depth: int) -> Prefixes:
    """List the prefixes of a language.

    Args:
        language: its strings and their probabilities.
        depth: longest text looked at, in symbols.
    """
    sizes = [len(language.alphabet) ** level for level in range(depth + 1)]
    mass = [np.zeros(size) for size in sizes]
    viable = [np.zeros(size, np.bool_) for size in sizes]
    complete = [np.zeros(size, np.bool_) for size in sizes[:depth]]
    lengths = np.array([len(string) for string in language.strings], np.int64)
    for length in np.unique(lengths).tolist():
        chosen = np.flatnonzero(lengths == length)
        symbols = np.array([language.strings[i] for i in chosen], np.int64).reshape(len(chosen), length)
        node = np.zeros(len(chosen), np.int64)
        for level in range(min(length, depth) + 1):
            if level:
                node = node * len(language.alphabet) + symbols[:, level - 1]
            np.add.at(mass[level], node, language.probabilities[chosen])
            viable[level][node] = True
        if length < depth:
            complete[length][node] = True
    return Prefixes(mass, viable, complete)
