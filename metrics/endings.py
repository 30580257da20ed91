"""The recursion for final texts of a policy that may erase (at each of them, with no sampling).

A policy without memory walks on the tree of texts. With ``pi(a | s)`` its actions at text s,

    up(s) = pi(bksp | s) / (1 - sum_a pi(a | s) up(sa))    probability of ever erasing the last token of s, once there
    G(s)  = 1 / (1 - sum_a pi(a | s) up(sa))               expected visits to s each time it is entered from above
    P(final text = x) = [prod over proper prefixes s of x: G(s) pi(next | s)] G(x) pi(eos | x)

and without backspace up = 0, G = 1. The final text begins with x with the probability

    P(final text >= x) = [prod over proper prefixes s of x: G(s) pi(next | s)] (1 - up(x))

Computed with ``1 - up`` in the place of up, every term is a sum of non-negative numbers, so nothing cancels, however
rarely the walk ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metrics.tree import Levels, TextTree

ALIVE = 1e-18


@dataclass(frozen=True)
class FinalTexts:
    """The distribution of final texts; a walk that is cut off leaves the text visible then.

    Attributes:
        ended: probability that each text is the final one and was ended by the policy, level t of shape ``(k**t,)``.
        begun: probability that the final text begins with each text, one level more: those as long as the bound.
        strayed: probability that the first token outside the alphabet follows t symbols, shape ``(depth,)``.
    """

    ended: Levels
    begun: Levels
    strayed: NDArray[np.float64]


def final_texts(tree: TextTree, max_actions: int | None = None) -> FinalTexts:
    """Final texts of walks that are cut after ``max_actions`` actions, or not cut (None)."""
    return _unbounded(tree) if max_actions is None else _bounded(tree, max_actions)


def returns(tree: TextTree) -> tuple[Levels, Levels]:
    """Solve the recursion at the top of this module.

    Returns:
        ``1 - up``, level t of shape ``(k**t,)``, one level more than the tree; and ``G`` for every text of the tree.
        Where a walk can neither end nor leave, ``1 - up`` is 1 and ``G`` is 0: nothing that happens there is a final
        text.
    """
    width = tree.append[0].shape[1]
    stay = [np.ones(width**tree.depth)]
    visits: Levels = []
    for append, end, erase, other in reversed(list(zip(tree.append, tree.end, tree.erase, tree.other, strict=True))):
        settled = end + other + (append * stay[0].reshape(-1, width)).sum(1)
        leaving = settled + erase
        endless = leaving == 0
        leaving[endless] = 1
        stay.insert(0, np.where(endless, 1.0, settled / leaving))
        visits.insert(0, np.where(endless, 0.0, 1 / leaving))
    return stay, visits


def _unbounded(tree: TextTree) -> FinalTexts:
    stay, visits = returns(tree)
    entered = np.ones(1)
    ended, begun, strayed = [], [stay[0]], []
    for append, end, other, visited, remain in zip(tree.append, tree.end, tree.other, visits, stay[1:], strict=True):
        at = entered * visited
        ended.append(at * end)
        strayed.append(at @ other)
        entered = (at[:, None] * append).ravel()
        begun.append(entered * remain)
    return FinalTexts(ended, begun, np.array(strayed))


def _bounded(tree: TextTree, max_actions: int) -> FinalTexts:
    """Dynamic programming over actions."""
    width = tree.append[0].shape[1]
    at: Levels = [np.ones(1), *(np.zeros_like(level) for level in tree.end[1:])]
    ended = [np.zeros_like(level) for level in tree.end]
    strayed = [np.zeros_like(level) for level in tree.end]
    full = np.zeros(width**tree.depth)
    for _ in range(max_actions):
        for level, mass in enumerate(at):
            ended[level] += mass * tree.end[level]
            strayed[level] += mass * tree.other[level]
        onward = [(mass[:, None] * append).ravel() for mass, append in zip(at, tree.append, strict=True)]
        back = [(mass * erase).reshape(-1, width).sum(1) for mass, erase in zip(at[1:], tree.erase[1:], strict=True)]
        full += onward[-1]
        at = [np.zeros(1), *onward[:-1]]
        for level, mass in enumerate(back):
            at[level] += mass
        if sum(mass.sum() for mass in at) < ALIVE:
            break
    begun = [full]
    for end, stray, cut in zip(reversed(ended), reversed(strayed), reversed(at), strict=True):
        begun.insert(0, end + stray + cut + begun[0].reshape(-1, width).sum(1))
    return FinalTexts(ended, begun, np.array([level.sum() for level in strayed]))
