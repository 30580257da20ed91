"""The recursion for final texts of a policy that may erase (at each of them, with no sampling).

A policy without memory walks on the tree of texts. With ``pi(a | s)`` its actions at text s,

    up(s) = pi(bksp | s) / (1 - sum_a pi(a | s) up(sa))    probability of ever erasing the last token of s, once there
    G(s)  = 1 / (1 - sum_a pi(a | s) up(sa))               expected visits to s each time it is entered from above
    P(final text = x) = [prod over proper prefixes s of x: G(s) pi(next | s)] G(x) pi(eos | x)

and without backspace up = 0, G = 1. Computed with ``1 - up`` in the place of up, every term is a sum of
non-negative numbers, so nothing cancels, however rarely the walk ends.
"""

from __future__ import annotations

import numpy as np

from metrics.tree import Levels, TextTree

ALIVE = 1e-18


def returns(tree: TextTree) -> tuple[Levels, Levels]:
    """Solve the recursion at the top of this module.

    Returns:
        ``1 - up`` and ``G`` for every text, level t of shape ``(k**t,)``. Where a walk can neither end nor leave,
        ``1 - up`` is 1 and ``G`` is 0: nothing that happens there is a final text.
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
    return stay[:-1], visits


def unbounded_endings(tree: TextTree) -> Levels:
    """Probability that each text is the final one, ended by the policy, level t of shape ``(k**t,)``."""
    _, visits = returns(tree)
    entered, endings = np.ones(1), []
    for append, end, visited in zip(tree.append, tree.end, visits, strict=True):
        at = entered * visited
        endings.append(at * end)
        entered = (at[:, None] * append).ravel()
    return endings


def bounded_endings(tree: TextTree, max_actions: int) -> Levels:
    """The same where a walk of ``max_actions`` actions is cut off: dynamic programming over actions."""
    width = tree.append[0].shape[1]
    at: Levels = [np.ones(1), *(np.zeros_like(level) for level in tree.end[1:])]
    endings = [np.zeros_like(level) for level in tree.end]
    for _ in range(max_actions):
        for level, mass in enumerate(at):
            endings[level] += mass * tree.end[level]
        onward = [(mass[:, None] * append).ravel() for mass, append in zip(at, tree.append, strict=True)]
        back = [(mass * erase).reshape(-1, width).sum(1) for mass, erase in zip(at[1:], tree.erase[1:], strict=True)]
        at = [np.zeros(1), *onward[:-1]]
        for level, mass in enumerate(back):
            at[level] += mass
        if sum(mass.sum() for mass in at) < ALIVE:
            break
    return endings
