"""Self-BLEU: how much texts repeat each other (Zhu et al. 2018, arXiv 1802.01886)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from metrics.base import MetricError


def self_bleu(sequences: Sequence[ArrayLike], *, at_most: int | None = None, seed: int = 0) -> float:
    """Mean over texts of the sentence BLEU of a text against all others as references, by sacrebleu.

    BLEU-4 of token ids, smoothed ("exp"), of the orders that a text has (``effective_order``).

    Args:
        sequences: one sequence of token ids per text. Empty texts are left out: BLEU would count them as new.
        at_most: texts used; so many are drawn where there are more, since the time grows with their square. Only
            values at equal numbers of texts compare.
        seed: of the draw.

    Returns:
        Between 0 (no text shares a token with another) and 1 (every text occurs twice).

    Raises:
        MetricError: if fewer than two texts have tokens, or sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics import BLEU
    except ImportError as error:
        raise MetricError("self-BLEU needs sacrebleu: pip install 'seqmatch[bleu]'") from error
    # In sorted order, so that neither the draw nor the result depends on the order of rows.
    texts = sorted(" ".join(map(str, np.asarray(sequence).tolist())) for sequence in sequences)
    texts = [text for text in texts if text]
    if at_most is not None and len(texts) > at_most:
        texts = [texts[i] for i in np.random.default_rng(seed).choice(len(texts), size=at_most, replace=False)]
    if len(texts) < 2:
        raise MetricError(f"self-BLEU needs at least two texts with tokens, got {len(texts)}")
    bleu = BLEU(tokenize="none", smooth_method="exp", effective_order=True)
    scores = [bleu.sentence_score(text, texts[:i] + texts[i + 1 :]).score for i, text in enumerate(texts)]
    return min(1.0, math.fsum(scores) / len(scores) / 100)
