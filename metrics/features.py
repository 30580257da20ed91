"""Features of texts: hidden states and sentence embeddings of a Hugging Face model, cached on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from metrics.base import MetricError
from metrics.feature_cache import read_features, write_features
from metrics.feature_model import (
    Pooling,
    context_length,
    is_causal,
    load_network,
    load_tokenizer,
    pooled_states,
    start_token,
    token_ids,
)
from metrics.model_source import ModelSource, locate_model
from metrics.texts import check_texts


def hidden_states(
    texts: Sequence[str],
    model: str,
    layer: int = -1,
    pooling: Pooling = "last",
    *,
    max_tokens: int = 64,
    batch_size: int = 32,
    cache: Path | None = None,
) -> NDArray[np.float32]:
    """Hidden states of texts, one pooled vector each.

    Causal language models get no special tokens, encoders their usual ones. An empty text is one start token.

    Args:
        texts: n texts.
        model: folder of a Hugging Face model, hub id, or ``hub id@revision``.
        layer: index into the hidden states: 0 the embeddings, -1 the last layer.
        pooling: "last": the state of the last token; "mean": over all tokens; "sentence": the mean scaled to
            length one, as sentence encoders are trained with (Reimers & Gurevych 2019, arXiv 1908.10084).
        max_tokens: texts are cut to this many tokens of the feature model, special tokens not counted, and to its
            context.
        batch_size: texts per forward pass; changes speed, and features by rounding: below 1e-5 of a row's length.
        cache: folder of cached features, made if absent; None: no cache. A corrupt file is computed again, with a
            warning.

    Returns:
        Shape ``(n, d)``, in the order of the texts.

    Raises:
        MetricError: if there are no texts, one is no text, a setting is out of range, the model cannot be loaded,
            or a feature is not finite.
    """
    _check(texts)
    if pooling not in get_args(Pooling):
        raise MetricError(f"pooling must be one of {get_args(Pooling)}, got {pooling!r}")
    _check_positive(max_tokens=max_tokens, batch_size=batch_size)
    source = locate_model(model)
    entry = None
    if cache is not None:
        parts = [2, version("transformers"), source.identity, layer, pooling, max_tokens, list(texts)]
        entry = cache / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}.features"
        stored = read_features(entry, len(texts))
        if stored is not None:
            return stored
    features = _compute(texts, source, layer, pooling, max_tokens, batch_size)
    if entry is not None:
        write_features(entry, features)
    return features


def token_counts(texts: Sequence[str], model: str, max_tokens: int) -> NDArray[np.int64]:
    """Length of each text in tokens of the feature model, after the cut; 0 if empty. Shape ``(n,)``."""
    _check(texts)
    _check_positive(max_tokens=max_tokens)
    source = locate_model(model)
    limit = _text_limit(source, max_tokens)
    return np.array([len(ids) for ids in token_ids(load_tokenizer(source), texts, limit, special=False)])


def _check(texts: Sequence[str]) -> None:
    check_texts(texts, "features: the texts")
    if not len(texts):
        raise MetricError("features need at least one text")


def _check_positive(**settings: int) -> None:
    for name, number in settings.items():
        if number < 1:
            raise MetricError(f"{name} must be positive, got {number}")


def _text_limit(source: ModelSource, max_tokens: int) -> int:
    special = 0 if is_causal(source) else load_tokenizer(source).num_special_tokens_to_add()
    return min(max_tokens, context_length(source) - special)


def _compute(
    texts: Sequence[str], source: ModelSource, layer: int, pooling: Pooling, max_tokens: int, batch_size: int
) -> NDArray[np.float32]:
    tokenizer, network = load_tokenizer(source), load_network(source)
    sequences = token_ids(tokenizer, texts, _text_limit(source, max_tokens), special=not is_causal(source))
    sequences = [ids or [start_token(tokenizer)] for ids in sequences]
    features = pooled_states(network, sequences, layer, pooling, batch_size)
    broken = np.flatnonzero(~np.isfinite(features).all(1))
    if len(broken):
        raise MetricError(
            f"feature model {source.name!r} gives features that are not finite for {len(broken)} of {len(texts)} "
            f"texts, the first {texts[broken[0]][:80]!r}"
        )
    return features
