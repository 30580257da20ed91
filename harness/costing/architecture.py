"""The model of a trial, from its configuration and without its weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from harness.assets import resolve
from harness.errors import AssetError
from harness.trial import Trial
from harness.validation import Key, build

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from trainers.model_spec import FreshModel, ModelSpec

SPECIAL = 3
"""Tokens of a fresh tokenizer beside its alphabet and merges, see ``trainers.tokenizer``."""


@dataclass(frozen=True)
class Architecture:
    """What of a model decides what it costs.

    Attributes:
        parameters: all of them, adapters included.
        trained: those that get gradients.
        weight_bytes: of all parameters.
        trained_bytes: of the trained ones.
        layers, width, inner, keys: number of layers, width of the hidden states, of the feed-forward layer, and of the
            keys of one token.
        vocabulary: number of logits.
        element: bytes of one number of the hidden states.
        source: where all this comes from.
    """

    parameters: int
    trained: int
    weight_bytes: int
    trained_bytes: int
    layers: int
    width: int
    inner: int
    keys: int
    vocabulary: int
    element: int
    source: str


def architecture(trial: Trial, vocabulary: int | None, *, backspace: bool) -> Architecture | str:
    """Work out the model of a trial.

    Args:
        trial: says which.
        vocabulary: tokens of its tokenizer; None: unknown, then the most that there can be.
        backspace: whether the action space has ``<bksp>``.

    Returns:
        The model, or a sentence on what is unknown of it and how to tell.
    """
    from trainers.model_spec import ModelSpec

    try:
        spec = build(ModelSpec, resolve(trial.model), Key("model"))
    except AssetError as error:
        return f"model: {error}"
    return _architecture(spec, vocabulary, backspace, trial.optimization["precision"] != "no")


@lru_cache(maxsize=8)
def _architecture(spec: ModelSpec, vocabulary: int | None, backspace: bool, low: bool) -> Architecture | str:
    """A skeleton of a large model takes seconds, and trainers of a study share one."""
    from trainers.models import skeleton

    found = _fresh(spec.fresh, vocabulary) if spec.fresh else _pretrained(spec)
    if isinstance(found, str):
        return found
    config, source = found
    model = skeleton(spec, config, vocabulary or config.vocab_size, backspace=backspace)
    everything = list(model.parameters())
    trained = [parameter for parameter in everything if parameter.requires_grad]
    text: Any = config.get_text_config()
    heads = text.num_attention_heads
    head = getattr(text, "head_dim", None) or text.hidden_size // heads
    return Architecture(
        parameters=sum(each.numel() for each in everything),
        trained=sum(each.numel() for each in trained),
        weight_bytes=sum(each.numel() * each.element_size() for each in everything),
        trained_bytes=sum(each.numel() * each.element_size() for each in trained),
        layers=text.num_hidden_layers,
        width=text.hidden_size,
        inner=getattr(text, "intermediate_size", None) or getattr(text, "n_inner", None) or 4 * text.hidden_size,
        keys=(getattr(text, "num_key_value_heads", None) or heads) * head,
        vocabulary=model.get_output_embeddings().weight.shape[0],
        element=2 if low else model.dtype.itemsize,
        source=source,
    )


def _fresh(fresh: FreshModel, vocabulary: int | None) -> tuple[PreTrainedConfig, str]:
    from trainers.models import fresh_config

    if vocabulary is not None:
        return fresh_config(fresh, vocabulary), "the study, and a tokenizer trained on the task"
    return fresh_config(fresh, SPECIAL + 256 + fresh.merges), "the study, with the largest vocabulary that there can be"


def _pretrained(spec: ModelSpec) -> tuple[PreTrainedConfig, str] | str:
    from transformers import AutoConfig

    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(spec.source, local_files_only=True)
    except (OSError, ValueError):
        known = _known(spec.source)
        if known is not None:
            return known, f"transformers' LlamaConfig(), whose defaults are those of {spec.source}"
        return (
            f"the configuration of {spec.source} is not on this machine: put its config.json into a folder and give "
            "that, --set model.path=FOLDER"
        )
    return config, f"the config.json of {spec.source}"


def _known(hub: str) -> PreTrainedConfig | None:
    """The configuration of the paper's model, which cannot be fetched without an account."""
    from transformers import LlamaConfig

    return LlamaConfig() if hub == "meta-llama/Llama-2-7b-hf" else None
