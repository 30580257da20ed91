"""Whether a policy recovers from an error that was put into its text, exactly, on an enumerable language."""

from __future__ import annotations

import numpy as np

from metrics.base import FiniteLanguage
from metrics.endings import returns
from metrics.prefixes import Prefixes, prefixes
from metrics.tree import Levels, TextTree


def recovery(tree: TextTree, language: FiniteLanguage, max_actions: int | None = None) -> float | None:
    """Probability that the final text is right after one wrong symbol.

    A string is drawn from the language and written up to a place, each of its places as likely as any other place of
    any string (in proportion to their probabilities); then a symbol is written with which no string goes on, drawn
    uniformly; then the policy goes on by itself. The final text is right if it is a string of the language that the
    policy ended. Without backspace it never is.

    Args:
        tree: the policy at every text, under its decoder.
        language: what is right.
        max_actions: actions at which a walk is cut, those that wrote the string and the error included; None: it is
            not cut.

    Returns:
        The probability; None if there is no wrong symbol at any place before texts are cut.
    """
    truth = prefixes(language, tree.depth)
    chances = _unbounded(tree, truth) if max_actions is None else _bounded(tree, truth, max_actions)
    recovered = places = 0.0
    width = tree.append[0].shape[1]
    for level in range(tree.depth - 1):
        wrong = ~truth.viable[level + 1].reshape(-1, width)
        count = wrong.sum(1)
        some = count > 0
        after = (chances[level + 1].reshape(-1, width) * wrong).sum(1)[some] / count[some]
        recovered += float(truth.mass[level][some] @ after)
        places += float(truth.mass[level][some].sum())
    return min(1.0, recovered / places) if places else None


def _unbounded(tree: TextTree, truth: Prefixes) -> Levels:
    """Probability of a right final text from every text on, of walks that are not cut."""
    stay, visits = returns(tree)
    width = tree.append[0].shape[1]
    below: Levels = [np.zeros(width**tree.depth)]
    for append, end, visited, complete in reversed(
        list(zip(tree.append, tree.end, visits, truth.complete, strict=True))
    ):
        below.insert(0, visited * (end * complete + (append * below[0].reshape(-1, width)).sum(1)))
    chances = [below[0]]
    for ends, remain in zip(below[1:-1], stay[1:-1], strict=True):
        chances.append(ends + (1 - remain) * np.repeat(chances[-1], width))
    return chances


def _bounded(tree: TextTree, truth: Prefixes, max_actions: int) -> Levels:
    """The same with the actions that are left after those that wrote the text: backwards over actions."""
    width = tree.append[0].shape[1]
    now: Levels = [np.zeros_like(level) for level in tree.end]
    found: Levels = [np.zeros_like(level) for level in tree.end]
    for left in range(1, max_actions + 1):
        children = [*now[1:], np.zeros(width**tree.depth)]
        parents = [np.zeros(1), *(np.repeat(level, width) for level in now[:-1])]
        now = [
            end * complete + (append * child.reshape(-1, width)).sum(1) + erase * parent
            for append, end, erase, complete, child, parent in zip(
                tree.append, tree.end, tree.erase, truth.complete, children, parents, strict=True
            )
        ]
        written = max_actions - left
        if written < tree.depth:
            found[written] = now[written]
    return found
