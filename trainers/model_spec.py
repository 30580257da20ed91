"""The ``model`` table of a study: which model, how its weights are held, and what of it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True, kw_only=True)
class FreshModel:
    """A Llama trained from scratch, with a byte-level BPE trained on the task.

    Attributes:
        hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, max_position_embeddings:
            as in transformers' LlamaConfig.
        merges: merges of the BPE.
        alphabet: the BPE starts from all "bytes" or from those "seen" in the task.
    """

    hidden_size: int = 128
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    intermediate_size: int = 512
    max_position_embeddings: int = 256
    merges: int = 1000
    alphabet: Literal["bytes", "seen"] = "bytes"

    def __post_init__(self) -> None:
        for name in (
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "max_position_embeddings",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"model.fresh: {name} must be at least 1, got {getattr(self, name)}")
        if self.merges < 0:
            raise ValueError(f"model.fresh: merges must be at least 0, got {self.merges}")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"model.fresh: hidden_size {self.hidden_size} is no multiple of {self.num_attention_heads} heads"
            )


@dataclass(frozen=True, kw_only=True)
class LoraSpec:
    """Low-rank adapters on all linear layers (Hu et al. 2021), merged when the policy is saved.

    Attributes:
        rank: of the adapters.
        alpha: what they add is scaled by alpha / rank.
        dropout: on what they read.
    """

    rank: int = 16
    alpha: float = 16.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"model.lora: rank must be at least 1, got {self.rank}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"model.lora: dropout must lie in [0, 1), got {self.dropout}")


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """The ``model`` table of a study: exactly one of ``fresh``, ``path`` and ``hub``.

    Attributes:
        fresh: train from scratch.
        path: a folder in Hugging Face's format.
        hub: a hub id.
        start_token: token that every prompt begins with; None: the tokenizer's begin token.
        lora: train low-rank adapters only.
        dtype: torch dtype of pre-trained weights; fresh ones are float32.
        quantization: hold frozen weights in four bits ("nf4", by bitsandbytes), of a pre-trained model with ``lora``.
        gradient_checkpointing: keep the inputs of layers only and compute the rest again on the way back: less memory
            for about a third more time, the same losses.
    """

    fresh: FreshModel | None = None
    path: str | None = None
    hub: str | None = None
    start_token: str | None = None
    lora: LoraSpec | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    quantization: Literal["nf4"] | None = None
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        given = [name for name in ("fresh", "path", "hub") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"model: give exactly one of fresh, path and hub, got {' and '.join(given) or 'none'}")
        if self.quantization and (self.fresh or not self.lora):
            raise ValueError("model: quantization freezes weights: it needs a model of path or hub, and model.lora")
        if self.fresh and self.dtype != "float32":
            raise ValueError(f"model: fresh weights are float32, not {self.dtype}: set optimization.precision")

    @property
    def source(self) -> str:
        """The folder or hub id of a pre-trained model."""
        found = self.path if self.path is not None else self.hub
        if found is None:
            raise ValueError("a fresh model has no source")
        return found


def context_length(config: PreTrainedConfig) -> int:
    """Context of a model in tokens; a very large number where its configuration names none."""
    return int(getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 2**31)
