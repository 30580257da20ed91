"""The model behind text features: loading it, tokenising, and pooling its hidden states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from metrics.base import MetricError
from metrics.model_source import ModelSource

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

Pooling = Literal["last", "mean", "sentence"]


@lru_cache(maxsize=2)
def load_tokenizer(source: ModelSource) -> PreTrainedTokenizerBase:
    """Tokenizer of a model; a changed folder is another source, so the in-process cache notices it."""
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = _load(source, "tokenizer", AutoTokenizer, truncation_side="right")
    return tokenizer


@lru_cache(maxsize=2)
def load_network(source: ModelSource, *, head: bool = False) -> PreTrainedModel:
    """Transformer of a model in float32, on the accelerator if there is one; of encoder-decoders the encoder.

    Args:
        source: the model.
        head: keep the head that predicts the next token.

    Raises:
        MetricError: if it cannot be loaded, or weights are absent that would be drawn at random.
    """
    import torch
    from transformers import AutoModel, AutoModelForCausalLM

    network: PreTrainedModel
    network, report = _load(
        source,
        "network",
        AutoModelForCausalLM if head else AutoModel,
        dtype=torch.float32,
        device_map="cuda" if torch.cuda.is_available() else "cpu",
        output_loading_info=True,
    )
    # A pooler comes after the hidden states, and checkpoints of masked language models have none.
    absent = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if absent:
        raise MetricError(f"model {source.name!r} has no weights for {absent[0]} ({len(absent)} are absent)")
    if network.config.is_encoder_decoder:
        network = network.get_encoder()
    network.config.use_cache = False
    network.eval()
    return network


@lru_cache(maxsize=2)
def _config(source: ModelSource) -> PreTrainedConfig:
    from transformers import AutoConfig

    config: PreTrainedConfig = _load(source, "configuration", AutoConfig)
    return config


def _load(source: ModelSource, part: str, loader: Any, **options: Any) -> Any:
    try:
        return loader.from_pretrained(source.name, revision=source.commit or "main", **options)
    except (OSError, ValueError) as error:
        raise MetricError(f"cannot load the {part} of model {source.name!r}: {error}") from error


def is_causal(source: ModelSource) -> bool:
    """Whether the architecture is a causal language model and nothing else, and so takes no special tokens."""
    from transformers.models.auto import modeling_auto as architectures

    kind = _config(source).model_type
    causal = kind in architectures.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return causal and kind not in architectures.MODEL_FOR_MASKED_LM_MAPPING_NAMES


def context_length(source: ModelSource) -> int:
    """The longest input in tokens, special ones included; a very large number if the model names no bound."""
    named = getattr(_config(source), "max_position_embeddings", None)
    return min(int(load_tokenizer(source).model_max_length), named or 2**62)


def token_ids(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int, *, special: bool
) -> list[list[int]]:
    """Token ids of texts cut to ``max_tokens`` tokens, special tokens (if wanted) not counted."""
    limit = max_tokens + (tokenizer.num_special_tokens_to_add() if special else 0)
    encoded = tokenizer(list(texts), add_special_tokens=special, truncation=True, max_length=limit)
    return [list(ids) for ids in encoded["input_ids"]]


def start_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that stands for an empty text: begin, class or end of sequence, whichever there is."""
    for token in (tokenizer.bos_token_id, tokenizer.cls_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    raise MetricError("an empty text needs a start token, but the model's tokenizer has no bos, cls or eos")


def padded_batches(
    network: PreTrainedModel, sequences: Sequence[Sequence[int]], batch_size: int
) -> Iterator[tuple[NDArray[np.intp], torch.Tensor, torch.Tensor]]:
    """Sequences of similar length together, padded on the right.

    Yields:
        Indices of b sequences, their token ids of shape ``(b, length)``, and a bool mask of the same shape that is
        False on padding.
    """
    import torch

    lengths = np.array([len(sequence) for sequence in sequences])
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        size = torch.as_tensor(lengths[rows], device=network.device)
        mask = torch.arange(int(size.max()), device=network.device) < size[:, None]
        ids = torch.zeros(mask.shape, dtype=torch.long, device=network.device)
        ids[mask] = torch.as_tensor([token for row in rows for token in sequences[row]], device=network.device)
        yield rows, ids, mask


def pooled_states(
    network: PreTrainedModel, sequences: Sequence[Sequence[int]], layer: int, pooling: Pooling, batch_size: int
) -> NDArray[np.float32]:
    """Pooled hidden states, shape ``(n, d)``, in the order of the sequences; padding changes nothing.

    Raises:
        MetricError: if the model has no such layer.
    """
    import torch

    orders, parts = [], []
    for rows, ids, mask in padded_batches(network, sequences, batch_size):
        with torch.inference_mode():
            output = network(input_ids=ids, attention_mask=mask.long(), output_hidden_states=layer != -1)
            states = output.last_hidden_state if layer == -1 else _layer(output.hidden_states, layer)
            size = mask.sum(1)
            if pooling == "last":
                vectors = states[torch.arange(len(rows), device=states.device), size - 1]
            else:
                vectors = (states * mask[..., None]).sum(1) / size[:, None]
            if pooling == "sentence":
                vectors = torch.nn.functional.normalize(vectors)
        orders.append(rows)
        parts.append(vectors.float().cpu().numpy())
    pooled = np.empty((len(sequences), parts[0].shape[1]), np.float32)
    pooled[np.concatenate(orders)] = np.concatenate(parts)
    return pooled


def _layer(states: Sequence[torch.Tensor], layer: int) -> torch.Tensor:
    if not -len(states) <= layer < len(states):
        raise MetricError(f"layer must lie in [{-len(states)}, {len(states) - 1}] for this model, got {layer}")
    return states[layer]
