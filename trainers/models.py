"""Where a policy comes from: a fresh configuration, a folder, or a hub id, with or without ``<bksp>`` and LoRA."""

from __future__ import annotations

import copy
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tokenizers
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from trainers.actions import BACKSPACE_TOKEN, ActionSpace
from trainers.devices import placed
from trainers.model_spec import FreshModel, LoraSpec, ModelSpec
from trainers.policy import Policy
from trainers.quantization import keep_layout, loading
from trainers.tokenizer import train_bpe

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


def tokenizer_for(spec: ModelSpec, corpus: Callable[[], Iterator[str]], cache: Path | None) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model, or train one on the task where the model is fresh.

    Args:
        spec: the model.
        corpus: yields the training text of the task.
        cache: folder that keeps trained tokenizers; None keeps none.

    Raises:
        ValueError: if the corpus is empty.
    """
    if spec.fresh is None:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(spec.source)
        return tokenizer
    texts = list(corpus())
    if cache is None:
        return train_bpe(texts, spec.fresh.merges, spec.fresh.alphabet)
    key = hashlib.sha256(f"{tokenizers.__version__}\0{spec.fresh.merges}\0{spec.fresh.alphabet}".encode())
    for text in texts:
        key.update(b"\0" + text.encode())
    folder = cache / "tokenizers" / key.hexdigest()[:24]
    if not folder.exists():
        _save_atomically(train_bpe(texts, spec.fresh.merges, spec.fresh.alphabet).save_pretrained, folder)
    trained: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(folder)
    return trained


def build_policy(spec: ModelSpec, tokenizer: PreTrainedTokenizerBase, *, backspace: bool, seed: int) -> Policy:
    """Build the policy a trial starts from.

    Equal seeds give equal weights, and the weights are the same with and without backspace but for the
    row of ``<bksp>``, which starts as the mean of the others.

    Args:
        spec: the model.
        tokenizer: its tokenizer; a copy is extended, the original stays as it is.
        backspace: whether the action space has ``<bksp>``.
        seed: seed of fresh weights and of adapters.

    Raises:
        ImportError: if quantised weights are wanted and bitsandbytes is not installed.
        ValueError: if gradient checkpointing is wanted and the model has none.
    """
    tokenizer = copy.deepcopy(tokenizer)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _fresh(spec.fresh, tokenizer) if spec.fresh else _pretrained(spec)
        if backspace:
            tokenizer.add_tokens([BACKSPACE_TOKEN], special_tokens=True)
            _add_mean_row(model, tokenizer.get_vocab()[BACKSPACE_TOKEN])
        space = ActionSpace.of(tokenizer, len(_embeddings(model)[1]), spec.start_token, backspace)
        if spec.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})  # the other kind skips frozen inputs
        if spec.lora:
            model = _with_lora(model, spec.lora, space.bksp)
    return Policy(placed(model), tokenizer, space)


def fresh_config(fresh: FreshModel, vocabulary: int) -> LlamaConfig:
    """The configuration of a fresh model over so many tokens; it names no special tokens."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=fresh.hidden_size,
        num_hidden_layers=fresh.num_hidden_layers,
        num_attention_heads=fresh.num_attention_heads,
        intermediate_size=fresh.intermediate_size,
        max_position_embeddings=fresh.max_position_embeddings,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        tie_word_embeddings=False,
    )


def skeleton(spec: ModelSpec, config: PreTrainedConfig, vocabulary: int, *, backspace: bool) -> PreTrainedModel:
    """The model of a policy without its weights: on the meta device, so that it takes no memory.

    Args:
        spec: the model; says the precision and the adapters.
        config: of the model.
        vocabulary: tokens of the tokenizer, ``<bksp>`` left out.
        backspace: whether the action space has ``<bksp>``.
    """
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, spec.dtype))
        if backspace:
            _add_mean_row(model, vocabulary)
        return _with_lora(model, spec.lora, vocabulary if backspace else None) if spec.lora else model


def dequantize(gguf: Path, cache: Path) -> Path:
    """Turn a GGUF file into an ordinary float32 folder, once.

    Args:
        gguf: the quantised model.
        cache: folder that keeps the result; a file of other content gets another entry.

    Returns:
        The folder, which ``from_pretrained`` opens.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    from transformers import GgufConfig  # not needed but here, and not in every version

    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    folder = cache / "gguf" / f"{gguf.stem}-{digest}"
    if folder.exists():
        return folder

    def save(target: Path) -> None:
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
        )
        model.save_pretrained(target)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(target)

    _save_atomically(save, folder)
    return folder


def _save_atomically(save: Callable[[Path], object], folder: Path) -> None:
    """Let ``save`` fill a folder that appears whole or not at all; a racing process may win."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        target = Path(scratch) / "new"
        save(target)
        try:
            os.rename(target, folder)
        except OSError:
            if not folder.exists():
                raise


def _fresh(fresh: FreshModel, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    config = fresh_config(fresh, len(tokenizer))
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    return LlamaForCausalLM(config)


def _pretrained(spec: ModelSpec) -> PreTrainedModel:
    dtype = getattr(torch, spec.dtype)
    packing = {} if spec.quantization is None else loading(spec.quantization, dtype)
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(spec.source, dtype=dtype, **packing)
    keep_layout(model)
    return model


def _embeddings(model: Any) -> tuple[Tensor, Tensor]:
    """The input and output embedding tables, shape ``(tokens, width)`` each."""
    return model.get_input_embeddings().weight, model.get_output_embeddings().weight


def _add_mean_row(model: PreTrainedModel, token: int) -> None:
    """Give a new token the mean embedding, on the input and on the output side."""
    means = [table.detach()[:token].mean(0) for table in _embeddings(model)]
    if token >= len(_embeddings(model)[0]):
        model.resize_token_embeddings(token + 1, mean_resizing=False)
    with torch.no_grad():
        for table, mean in zip(_embeddings(model), means, strict=True):
            table[token] = mean


def _with_lora(model: PreTrainedModel, lora: LoraSpec, bksp: int | None) -> PreTrainedModel:
    """Freeze the model behind adapters; the row of ``<bksp>`` stays trainable, on both sides."""
    from peft import LoraConfig, get_peft_model

    rows: dict[str, list[int]] | None = None
    if bksp is not None:
        tables = {model.get_input_embeddings(), model.get_output_embeddings()}
        rows = {name: [bksp] for name, module in model.named_modules() if module in tables}
        if model.config.tie_word_embeddings:
            rows = {name: ids for name, ids in rows.items() if "embed" in name or "wte" in name}
    adapted: PreTrainedModel = get_peft_model(
        model,
        LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules="all-linear",
            trainable_token_indices=rows,
            task_type="CAUSAL_LM",
        ),
    )
    return adapted
