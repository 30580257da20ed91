"""A causal language model of Hugging Face that is a Markov chain: its likelihoods have closed forms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def save_markov_chain(folder: Path, alphabet: str, transitions: Sequence[Sequence[float]]) -> str:
    """Save a Llama without layers, and its tokenizer of single characters.

    The normalised one-hot embedding of token i, times the head, is row i of the log-probabilities.

    Args:
        folder: where to, made if absent.
        alphabet: V - 1 characters, tokens 0 to V - 2; token V - 1 is the end of sequence, and starts a text.
        transitions: positive probabilities of the next token, shape ``(V, V)``, rows sum to 1.

    Returns:
        The folder, as metrics name models.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    size = len(alphabet) + 1
    vocabulary = {token: index for index, token in enumerate([*alphabet, "<eos>"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>").save_pretrained(folder)  # noqa: S106
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=2 * size,
        intermediate_size=1,
        num_hidden_layers=0,
        num_attention_heads=1,
        rms_norm_eps=0.0,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=size - 1,
    )
    network = LlamaForCausalLM(config)
    head = torch.as_tensor(np.log(np.array(transitions)).T / math.sqrt(2 * size))
    with torch.no_grad():
        network.model.embed_tokens.weight.copy_(torch.eye(size, 2 * size))
        network.lm_head.weight.zero_()[:, :size] = head
    network.save_pretrained(folder)
    return str(folder)
