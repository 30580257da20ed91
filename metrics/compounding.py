"""Errors by position, where the policy goes on from its own text and where it goes on from the truth.

A policy that errs on a share e of the states of the data may err on ever more of its own, since one error leads to
states that it never saw (Ross & Bagnell 2010, "Efficient Reductions for Imitation Learning"; for language models
Arora et al. 2022, arXiv 2204.01171). The action at position t, a symbol or the end, is right if some string of the
language goes on like that from its beginning. With Q the final texts of the policy and P the language,

    free_running(t)   = Q(the text is wrong by position t | it has t - 1 symbols)
    teacher_forced(t) = E over prefixes of t - 1 symbols under P [ 1 - pi(right actions | prefix, no backspace) ]
    excess(t)         = free_running(t) - teacher_forced(t)

At position 1 both agree without backspace. A text that was cut is wrong at the position where it was. An error that
was erased is none: with backspace the excess can be negative. What follows a token outside the alphabet is not
enumerated: such a text counts as going on, and wrong, at all later positions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metrics.base import FiniteLanguage
from metrics.endings import FinalTexts
from metrics.prefixes import Prefixes, prefixes
from metrics.tree import TextTree


def error_curves(
    tree: TextTree, final: FinalTexts, language: FiniteLanguage
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two curves at the top of this module.

    Args:
        tree: the policy at every text, under its decoder.
        final: its final texts.
        language: what is right.

    Returns:
        Free-running and teacher-forced error, shape ``(positions,)`` each, positions 1 to that of the end of the
        longest string, or to the last one before texts are cut. NaN where the policy, or the language, has no text
        that gets so far.
    """
    truth = prefixes(language, tree.depth)
    positions = range(min(tree.depth, language.max_length + 1))
    free = [_free_running(final, truth, level) for level in positions]
    forced = [_teacher_forced(tree, truth, level) for level in positions]
    return np.array(free), np.array(forced)


def _free_running(final: FinalTexts, truth: Prefixes, level: int) -> float:
    reached = final.begun[level].sum() + final.strayed[:level].sum()
    if reached == 0:
        return np.nan
    right = final.begun[level + 1] @ truth.viable[level + 1] + final.ended[level] @ truth.complete[level]
    return float(np.clip(1 - right / reached, 0, 1))


def _teacher_forced(tree: TextTree, truth: Prefixes, level: int) -> float:
    weights = truth.mass[level]
    if weights.sum() == 0:
        return np.nan
    append, end = tree.append[level], tree.end[level]
    wrong_symbols = (append * ~truth.viable[level + 1].reshape(append.shape)).sum(1)
    wrong = wrong_symbols + tree.other[level] + end * ~truth.complete[level]
    onward = append.sum(1) + tree.other[level] + end
    # Where nothing but backspace is possible, the right action is not: that is an error.
    error = np.divide(wrong, onward, out=np.ones_like(wrong), where=onward > 0)
    return float(np.clip(weights @ error / weights.sum(), 0, 1))
