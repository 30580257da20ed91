"""Perplexity of held-out completions."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metrics.base import Estimate, KnownAnswer, Metric, MetricContext, MetricError, Need, Value
from metrics.sample_error import ratio
from metrics.tabular import TabularPolicy


def pooled_perplexity(scores: NDArray[np.float64], counts: NDArray[np.int64]) -> Estimate:
    """``exp(-sum scores / sum counts)``: perplexity per token over all texts together, with its sample error.

    Args:
        scores: finite log-probabilities, nats, shape ``(n,)``.
        counts: numbers of tokens, shape ``(n,)``, not all 0.

    Raises:
        MetricError: if it is too large for a float.
    """
    rate = ratio(-scores, counts)
    if rate > math.log(sys.float_info.max):
        raise MetricError(f"Perplexity is too large for a number: exp({rate:.0f}) per token")
    perplexity = math.exp(rate)
    return Estimate(perplexity, perplexity * rate.standard_error)


@dataclass(frozen=True, kw_only=True)
class Perplexity(Metric):
    """``exp(-sum log p / sum tokens)`` of the held-out completions given their prompts.

    Backspace is masked out and the other actions renormalised, so that policies with and without it answer the
    same question. The end-of-sequence action counts as a token where the example ends with it.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"policy"})
    minimum_n: ClassVar[int] = 0
    values: ClassVar[Mapping[str, Value]] = {
        "perplexity": Value(higher_is_better=False, range=(1, math.inf), unit="per token")
    }

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        self.check(generations, context)
        assert context.policy is not None
        sizes = len(context.prompts), len(context.completions), len(context.finished)
        if len(set(sizes)) > 1 or not sizes[0]:
            raise MetricError(
                "Perplexity needs held-out examples, got "
                f"{sizes[0]} prompts, {sizes[1]} completions and {sizes[2]} marks of whether they finish"
            )
        scores, counts = context.policy.log_likelihood(context.prompts, context.completions, context.finished)
        impossible = np.flatnonzero(~np.isfinite(scores))
        if len(impossible):
            where = int(impossible[0])
            raise MetricError(
                f"Perplexity is not finite: {len(impossible)} of {len(scores)} held-out completions have "
                f"log-probability {scores[where]}, the first for the prompt {context.prompts[where]!r}"
            )
        if counts.sum() == 0:
            raise MetricError("Perplexity needs at least one token, but all held-out completions are empty")
        return {"perplexity": pooled_perplexity(scores, counts)}

    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        chain = TabularPolicy("ab", lambda visible: (0.4, 0.6, 0.0) if visible[-1:] == (1,) else (0.9, 0.1, 0.0))
        typical = "a" * 72 + "b" * 13 + "a" + "ba" * 7
        context = MetricContext(policy=chain, prompts=["a"], completions=[typical], finished=[False])
        measured = cls().compute(pd.DataFrame(), context)["perplexity"]
        rate = 0.8 * _entropy(0.9) + 0.2 * _entropy(0.6)
        return [KnownAnswer("Markov chain, every transition at its stationary frequency", measured, math.exp(rate))]


def _entropy(share: float) -> float:
    return -share * math.log(share) - (1 - share) * math.log(1 - share)
