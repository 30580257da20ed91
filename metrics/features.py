"""Features of texts: hidden states of a Hugging Face model, cached on disk."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from metrics.base import MetricError
from metrics.feature_model import (
    Pooling,
    is_causal,
    load_network,
    load_tokenizer,
    model_identity,
    pooled_states,
    start_token,
    token_ids,
)


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
        model: folder of a Hugging Face model, or hub id.
        layer: index into the hidden states: 0 the embeddings, -1 the last layer.
        pooling: "last": the state of the last token; "mean": over all tokens.
        max_tokens: texts are cut to this many tokens of the feature model, special tokens not counted.
        batch_size: texts per forward pass; changes speed, not features (beyond rounding).
        cache: folder of cached features, made if absent; None: no cache. A file that cannot be read whole is
            computed again.

    Returns:
        Shape ``(n, d)``, in the order of the texts.

    Raises:
        MetricError: if there are no texts, a setting is out of range, the model cannot be loaded, or a feature
            is not finite.
    """
    _check_arguments(texts, pooling, max_tokens, batch_size)
    identity = model_identity(model)
    entry = None
    if cache is not None:
        parts = [1, version("transformers"), identity, layer, pooling, max_tokens, list(texts)]
        entry = cache / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}.npy"
        stored = _read(entry, len(texts))
        if stored is not None:
            return stored
    features = _compute(texts, model, identity, layer, pooling, max_tokens, batch_size)
    if entry is not None:
        _write(entry, features)
    return features


def token_counts(texts: Sequence[str], model: str, max_tokens: int) -> NDArray[np.int64]:
    """Length of each text in tokens of the feature model, after the cut to ``max_tokens``; 0 if empty."""
    _check_arguments(texts, "last", max_tokens, 1)
    tokenizer = load_tokenizer(model, model_identity(model))
    return np.array([len(ids) for ids in token_ids(tokenizer, texts, max_tokens, special=False)])


def _check_arguments(texts: Sequence[str], pooling: str, max_tokens: int, batch_size: int) -> None:
    if not len(texts):
        raise MetricError("features need at least one text")
    strange = [text for text in texts if not isinstance(text, str)]
    if strange:
        raise MetricError(f"features need strings, got {strange[0]!r}")
    if pooling not in get_args(Pooling):
        raise MetricError(f"pooling must be one of {get_args(Pooling)}, got {pooling!r}")
    if min(max_tokens, batch_size) < 1:
        raise MetricError(f"max_tokens and batch_size must be positive, got {max_tokens} and {batch_size}")


def _compute(
    texts: Sequence[str], model: str, identity: str, layer: int, pooling: Pooling, max_tokens: int, batch_size: int
) -> NDArray[np.float32]:
    tokenizer, network = load_tokenizer(model, identity), load_network(model, identity)
    states = network.config.num_hidden_layers + 1
    if not -states <= layer < states:
        raise MetricError(f"layer must lie in [{-states}, {states - 1}] for feature model {model!r}, got {layer}")
    special = not is_causal(network)
    longest = max_tokens + (tokenizer.num_special_tokens_to_add() if special else 0)
    limit = getattr(network.config, "max_position_embeddings", None)
    if limit is not None and longest > limit:
        raise MetricError(f"feature model {model!r} reads at most {limit} tokens, but max_tokens asks for {longest}")
    sequences = token_ids(tokenizer, texts, max_tokens, special=special)
    sequences = [ids or [start_token(tokenizer)] for ids in sequences]
    features = pooled_states(network, sequences, layer, pooling, batch_size)
    broken = np.flatnonzero(~np.isfinite(features).all(1))
    if len(broken):
        raise MetricError(
            f"feature model {model!r} gives features that are not finite for {len(broken)} of {len(texts)} texts, "
            f"the first {texts[broken[0]][:80]!r}"
        )
    return features


def _read(entry: Path, rows: int) -> NDArray[np.float32] | None:
    try:
        features = np.load(entry, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    usable = features.ndim == 2 and len(features) == rows and features.dtype == np.float32
    return features if usable and np.isfinite(features).all() else None


def _write(entry: Path, features: NDArray[np.float32]) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=entry.parent, suffix=".tmp", delete=False) as file:
        np.save(file, features)
    os.replace(file.name, entry)
