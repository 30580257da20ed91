"""What a policy really writes on an enumerable language, exactly, and how far that is from the language."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import entr, rel_entr

from metrics.base import (
    Estimate,
    FiniteLanguage,
    KnownAnswer,
    Metric,
    MetricContext,
    MetricError,
    Need,
    ScoredPolicy,
    Series,
    Value,
)
from metrics.compounding import error_curves
from metrics.endings import FinalTexts, final_texts
from metrics.injection import recovery
from metrics.languages import check_language
from metrics.tabular import TabularLanguage, TabularPolicy
from metrics.tree import TextTree, text_tree

POSITIONS = 20
"""Positions of the curves that are reported: with two symbols the tree of texts can be no deeper."""


def final_text_distribution(
    policy: ScoredPolicy,
    language: FiniteLanguage,
    *,
    decoder: Any = None,
    max_new_tokens: int | None = None,
    max_actions: int | None = None,
) -> NDArray[np.float64]:
    """Distribution of the final texts of a policy, exactly, without sampling.

    Args:
        policy: the policy, started from the empty prompt.
        language: the strings to tell apart.
        decoder: how the policy draws its actions; None: ancestral sampling.
        max_new_tokens: visible tokens at which a text is cut; default ``language.max_length + 1``. A text that is
            cut is no string of the language.
        max_actions: actions at which a walk is cut, likewise; None: walks are not cut.

    Returns:
        Shape ``(len(language.strings) + 1,)``, sums to 1: the probability of each string, ended by the policy
        itself, and last that of everything else (other texts, texts and walks cut off, walks without end).

    Raises:
        MetricError: if the language is no distribution over strings of its alphabet, the tree of texts cannot be
            enumerated (see ``metrics.tree.text_tree``), or a bound is not positive.
    """
    tree = _tree(policy, language, decoder, max_new_tokens, max_actions)
    return _strings(final_texts(tree, max_actions), language)


def _tree(
    policy: ScoredPolicy, language: FiniteLanguage, decoder: Any, max_new_tokens: int | None, max_actions: int | None
) -> TextTree:
    check_language(language)
    if max_actions is not None and max_actions < 1:
        raise MetricError(f"max_actions must be at least 1, got {max_actions}")
    depth = language.max_length + 1 if max_new_tokens is None else max_new_tokens
    return text_tree(policy, language.alphabet, depth, decoder)


def _strings(final: FinalTexts, language: FiniteLanguage) -> NDArray[np.float64]:
    width = len(language.alphabet)
    valid = np.zeros(len(language.strings) + 1)
    for position, string in enumerate(language.strings):
        if len(string) < len(final.ended):
            node = 0
            for symbol in string:
                node = node * width + symbol
            valid[position] = final.ended[len(string)][node]
    valid[-1] = max(0.0, 1 - valid.sum())
    return valid


@dataclass(frozen=True, kw_only=True)
class Exact(Metric):
    """Divergences between a finite language P and the final texts of the policy Q, with no sampling error.

    Q is taken under the decoder and the bounds of the generations; everything that is no string of the language
    is one more outcome, of probability 0 under P.

    - ``kl_forward``: KL(P, Q) in nats. Left out where it is infinite: Q never writes some string of P (a
      truncating decoder does that).
    - ``kl_reverse``: KL(Q given a valid string, P) in nats; the condition is there because KL(Q, P) is infinite
      wherever Q writes anything invalid. Left out where Q writes no valid string, or one of probability 0.
    - ``total_variation``, ``jensen_shannon`` (nats), ``chi2_mixture`` (chi^2 of P to the mixture (P + Q) / 2):
      of P and Q, invalid texts included; always finite.
    - ``invalid_mass``: probability under Q of everything that is no string of the language.
    - ``exact_entropy``: entropy of Q given a valid string, in nats, to be compared with that of P. Left out where
      Q writes no valid string.
    - ``free_running_error_t``, ``teacher_forced_error_t`` and their difference ``excess_error_t`` at position t, 1 to
      20: how errors compound (see ``metrics.compounding``). Left out where no text gets so far.
    - ``recovery``: probability of a valid final text after one wrong symbol (see ``metrics.injection``). Left out
      where no symbol is wrong.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"policy", "language"})
    follows_decoder: ClassVar[bool] = True
    minimum_n: ClassVar[int] = 0
    headline: ClassVar[tuple[str, ...]] = ("kl_forward", "total_variation", "invalid_mass")
    values: ClassVar[Mapping[str, Value]] = {
        "kl_forward": Value(higher_is_better=False, range=(0, math.inf), unit="nats"),
        "kl_reverse": Value(higher_is_better=False, range=(0, math.inf), unit="nats"),
        "total_variation": Value(higher_is_better=False, range=(0, 1)),
        "jensen_shannon": Value(higher_is_better=False, range=(0, math.log(2)), unit="nats"),
        "chi2_mixture": Value(higher_is_better=False, range=(0, 1)),
        "invalid_mass": Value(higher_is_better=False, range=(0, 1)),
        "exact_entropy": Value(higher_is_better=None, range=(0, math.inf), unit="nats"),
        **{f"free_running_error_{t}": Value(higher_is_better=False, range=(0, 1)) for t in range(1, POSITIONS + 1)},
        **{f"teacher_forced_error_{t}": Value(higher_is_better=False, range=(0, 1)) for t in range(1, POSITIONS + 1)},
        **{f"excess_error_{t}": Value(higher_is_better=False, range=(-1, 1)) for t in range(1, POSITIONS + 1)},
        "recovery": Value(higher_is_better=True, range=(0, 1)),
    }
    series: ClassVar[Mapping[str, Series]] = {
        "free_running_error": Series(x="position", y="probability of an error, after the policy's own text"),
        "teacher_forced_error": Series(x="position", y="probability of an error, after the truth"),
        "excess_error": Series(x="position", y="excess error"),
    }

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        self.check(generations, context)
        assert context.policy is not None
        assert context.language is not None
        language, bound = context.language, context.max_actions
        tree = _tree(context.policy, language, context.decoder, context.max_new_tokens, bound)
        final = final_texts(tree, bound)
        statistics = divergences(np.append(language.probabilities, 0.0), _strings(final, language))
        free, forced = error_curves(tree, final, language)
        for curve, errors in (("free_running", free), ("teacher_forced", forced), ("excess", free - forced)):
            reached = np.flatnonzero(np.isfinite(errors))
            context.series(f"{curve}_error", (reached + 1).tolist(), errors[reached].tolist())
        for position in range(1, min(len(free), POSITIONS) + 1):
            statistics[f"free_running_error_{position}"] = float(free[position - 1])
            statistics[f"teacher_forced_error_{position}"] = float(forced[position - 1])
            statistics[f"excess_error_{position}"] = float(free[position - 1] - forced[position - 1])
        chance = recovery(tree, language, bound)
        if chance is not None:
            statistics["recovery"] = chance
        return {name: Estimate(value, 0) for name, value in statistics.items() if math.isfinite(value)}

    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        three = TabularLanguage(("a", "b", "c"), 1, ((0,), (1,), (2,)), np.array([0.7, 0.2, 0.1]))
        other = TabularPolicy("abc", lambda visible: (0, 0, 0, 1) if visible else (0.1, 0.3, 0.6, 0))
        measured = cls().compute(pd.DataFrame(), MetricContext(policy=other, language=three))
        coin = TabularLanguage(("a",), 1, ((), (0,)), np.array([2 / 3, 1 / 3]))
        eraser = TabularPolicy("a", lambda visible: (0, 0.5, 0.5) if visible else (0.5, 0.5, 0), backspace=True)
        erased = cls().compute(pd.DataFrame(), MetricContext(policy=eraser, language=coin))
        twice = TabularLanguage(("a", "b"), 2, ((0, 0),), np.array([1.0]))
        slipping = TabularPolicy("ab", lambda visible: (0.75, 0.25, 0) if len(visible) < 2 else (0, 0, 1))
        slipped = cls().compute(pd.DataFrame(), MetricContext(policy=slipping, language=twice))
        careful = TabularPolicy(
            "ab", lambda visible: (0, 0, 0, 1) if 1 in visible else (*slipping.table(visible), 0), backspace=True
        )
        mended = cls().compute(pd.DataFrame(), MetricContext(policy=careful, language=twice))
        case = "(.7, .2, .1) against (.1, .3, .6): "
        kl_forward = 0.7 * math.log(7) + 0.2 * math.log(2 / 3) + 0.1 * math.log(1 / 6)
        kl_reverse = 0.1 * math.log(1 / 7) + 0.3 * math.log(3 / 2) + 0.6 * math.log(6)
        return [
            KnownAnswer(case + "kl_forward", measured["kl_forward"], kl_forward),
            KnownAnswer(case + "kl_reverse", measured["kl_reverse"], kl_reverse),
            KnownAnswer(case + "total_variation", measured["total_variation"], 0.6),
            KnownAnswer(case + "jensen_shannon", measured["jensen_shannon"], 0.2306454879),
            KnownAnswer(case + "chi2_mixture", measured["chi2_mixture"], 0.4135714286),
            KnownAnswer("an equal policy that erases half the time: kl_forward", erased["kl_forward"], 0),
            KnownAnswer("an equal policy that erases half the time: invalid_mass", erased["invalid_mass"], 0),
            KnownAnswer(
                "an equal policy that erases half the time: exact_entropy",
                erased["exact_entropy"],
                math.log(3) - 2 / 3 * math.log(2),
            ),
            KnownAnswer("errs once in four symbols: excess_error_2", slipped["excess_error_2"], 0.25 * 0.75),
            KnownAnswer("errs once in four symbols: recovery", slipped["recovery"], 0),
            KnownAnswer("erases every error: excess_error_2", mended["excess_error_2"], -0.25),
            KnownAnswer("erases every error: recovery", mended["recovery"], 1),
        ]


def divergences(language: NDArray[np.float64], policy: NDArray[np.float64]) -> dict[str, float]:
    """Divergences of two distributions of shape ``(m + 1,)``, the last entry everything invalid (see ``Exact``)."""
    mixture = (language + policy) / 2
    seen = mixture > 0
    statistics = {
        "total_variation": float(np.abs(language - policy).sum() / 2),
        "jensen_shannon": float((rel_entr(language, mixture) + rel_entr(policy, mixture)).sum() / 2),
        "chi2_mixture": float(((language - mixture)[seen] ** 2 / mixture[seen]).sum()),
        "invalid_mass": float(policy[-1]),
        "kl_forward": float(rel_entr(language, policy).sum()),
    }
    valid = policy[:-1].sum()
    if valid > 0:
        conditional = policy[:-1] / valid
        statistics["exact_entropy"] = float(entr(conditional).sum())
        statistics["kl_reverse"] = float(rel_entr(conditional, language[:-1]).sum())
    return {name: max(0.0, value) for name, value in statistics.items() if math.isfinite(value)}
