"""The model behind text features: loading it, tokenising, and pooling its hidden states."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from metrics.base import MetricError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Pooling = Literal["last", "mean"]


def model_identity(model: str) -> str:
    """Name of exactly these weights: digest of a local folder, or hub id and commit.

    A folder is known by its ``config.json`` and by name, size and time of change of all its files.

    Raises:
        MetricError: if there is no such model.
    """
    folder = Path(model)
    if not folder.is_dir():
        return f"{model}@{_hub_commit(model)}"
    config = folder / "config.json"
    if not config.is_file():
        raise MetricError(f"feature model {model!r}: the folder has no config.json, so it is no Hugging Face model")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    stamps = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(config.read_bytes() + repr(stamps).encode()).hexdigest()


def _hub_commit(model: str) -> str:
    from transformers.utils.hub import cached_file

    try:
        config = cached_file(model, "config.json")
    except (OSError, ValueError) as error:
        raise MetricError(f"feature model {model!r} is neither a folder nor a model of the hub: {error}") from error
    return Path(str(config)).parent.name


@lru_cache(maxsize=2)
def load_tokenizer(model: str, identity: str) -> PreTrainedTokenizerBase:
    """Tokenizer of a feature model; ``identity`` makes the in-process cache notice changed files."""
    from transformers import AutoTokenizer

    del identity
    try:
        return AutoTokenizer.from_pretrained(model, truncation_side="right")
    except (OSError, ValueError) as error:
        raise MetricError(f"cannot load the tokenizer of feature model {model!r}: {error}") from error


@lru_cache(maxsize=2)
def load_network(model: str, identity: str) -> PreTrainedModel:
    """Transformer of a feature model without its head, in float32, on the accelerator if there is one."""
    import torch
    from transformers import AutoModel

    del identity
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        network: PreTrainedModel = AutoModel.from_pretrained(model, dtype=torch.float32, device_map=device)
    except (OSError, ValueError) as error:
        raise MetricError(f"cannot load feature model {model!r}: {error}") from error
    network.config.use_cache = False
    network.eval()
    return network


def token_ids(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int, *, special: bool
) -> list[list[int]]:
    """Token ids of texts cut to ``max_tokens`` tokens, special tokens (if wanted) not counted."""
    limit = max_tokens + (tokenizer.num_special_tokens_to_add() if special else 0)
    encoded = tokenizer(list(texts), add_special_tokens=special, truncation=True, max_length=limit)
    return [list(ids) for ids in encoded["input_ids"]]


def is_causal(network: PreTrainedModel) -> bool:
    """Whether the architecture is a causal language model and nothing else, and so takes no special tokens."""
    from transformers.models.auto import modeling_auto as architectures

    kind = network.config.model_type
    causal = kind in architectures.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return causal and kind not in architectures.MODEL_FOR_MASKED_LM_MAPPING_NAMES


def start_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that stands for an empty text: begin, class or end of sequence, whichever there is."""
    for token in (tokenizer.bos_token_id, tokenizer.cls_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    raise MetricError("an empty text needs a start token, but the feature model's tokenizer has no bos, cls or eos")


def pooled_states(
    network: PreTrainedModel, sequences: Sequence[Sequence[int]], layer: int, pooling: Pooling, batch_size: int
) -> NDArray[np.float32]:
    """Pooled hidden states, shape ``(n, d)``, in the order of the sequences; padding changes nothing."""
    import torch

    lengths = np.array([len(sequence) for sequence in sequences])
    order = np.argsort(lengths, kind="stable")
    pooled = np.empty((len(sequences), network.config.hidden_size), np.float32)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        size = torch.as_tensor(lengths[rows], device=network.device)
        mask = torch.arange(int(size.max()), device=network.device) < size[:, None]
        ids = torch.zeros(mask.shape, dtype=torch.long, device=network.device)
        ids[mask] = torch.as_tensor([token for row in rows for token in sequences[row]], device=network.device)
        with torch.inference_mode():
            output = network(input_ids=ids, attention_mask=mask.long(), output_hidden_states=layer != -1)
            states = output.last_hidden_state if layer == -1 else output.hidden_states[layer]
            if pooling == "last":
                vectors = states[torch.arange(len(rows), device=network.device), size - 1]
            else:
                vectors = (states * mask[..., None]).sum(1) / size[:, None]
        pooled[rows] = vectors.float().cpu().numpy()
    return pooled
