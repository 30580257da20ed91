"""Log-likelihood of texts under a causal Hugging Face model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metrics.base import MetricError
from metrics.feature_model import (
    context_length,
    is_causal,
    load_network,
    load_tokenizer,
    padded_batches,
    start_token,
    token_ids,
)
from metrics.model_source import locate_model
from metrics.texts import check_texts

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH_SIZE = 8
"""Texts per forward pass: their logits, a number per token and entry of the vocabulary, fill memory first."""


@dataclass(frozen=True)
class Likelihoods:
    """What a model makes of n texts.

    Attributes:
        scores: log-probability of each text, nats, float64, shape ``(n,)``; may be infinite or NaN.
        counts: number of tokens scored of each text, at least 1, shape ``(n,)``.
        cut: number of texts of which only the first tokens were scored.
        empty: number of texts without a token.
    """

    scores: NDArray[np.float64]
    counts: NDArray[np.int64]
    cut: int
    empty: int


def likelihoods(prompts: Sequence[str], texts: Sequence[str], model: str, max_tokens: int) -> Likelihoods:
    """Log-likelihood of texts given their prompts, ``log p(text | start token, prompt)``.

    Prompt and text are tokenised apart. An empty text is one end-of-sequence token; other texts are scored without
    one, since they may have been cut. A prompt that leaves no room in the context loses its first tokens.

    Args:
        prompts: n prompts.
        texts: n texts.
        model: folder of a Hugging Face model, hub id, or ``hub id@revision``.
        max_tokens: texts are cut to this many tokens of the model, and to its context.

    Returns:
        The log-likelihoods, in the order of the texts.

    Raises:
        MetricError: if there are no texts, one is no text, ``max_tokens`` is not positive, the model cannot be
            loaded, is no causal language model, or has no end of sequence that an empty text could be.
    """
    for whose, given in (("prompts", prompts), ("texts", texts)):
        check_texts(given, f"likelihoods: the {whose}")
    if not 0 < len(texts) == len(prompts):
        raise MetricError(f"likelihoods need at least one text and a prompt each, got {len(texts)} and {len(prompts)}")
    if max_tokens < 1:
        raise MetricError(f"max_tokens must be positive, got {max_tokens}")
    source = locate_model(model)
    if not is_causal(source):
        raise MetricError(f"model {model!r} is no causal language model, so it gives texts no probability")
    tokenizer, network = load_tokenizer(source), load_network(source, head=True)
    context = context_length(source)
    # The last token is predicted and never read, and the start token takes its place.
    limit = min(max_tokens, context)
    encoded = token_ids(tokenizer, texts, limit + 1, special=False)
    if not all(encoded) and tokenizer.eos_token_id is None:
        raise MetricError(f"an empty text is one end-of-sequence token, but the tokenizer of {model!r} has none")
    targets = [ids[:limit] or [tokenizer.eos_token_id] for ids in encoded]
    sequences = []
    for prompt, target in zip(tokenizer(list(prompts), add_special_tokens=False)["input_ids"], targets, strict=True):
        room = context - len(target)
        sequences.append([start_token(tokenizer), *(prompt[-room:] if room else []), *target])
    counts = np.array([len(target) for target in targets])
    return Likelihoods(
        scores=_scores(network, sequences, counts),
        counts=counts,
        cut=sum(len(ids) > limit for ids in encoded),
        empty=sum(not ids for ids in encoded),
    )


def _scores(
    network: PreTrainedModel, sequences: Sequence[Sequence[int]], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Log-probability of the last ``counts`` tokens of each sequence, shape ``(n,)``."""
    import torch

    scores = np.empty(len(sequences))
    inputs = [sequence[:-1] for sequence in sequences]
    for rows, ids, mask in padded_batches(network, inputs, BATCH_SIZE):
        with torch.inference_mode():
            logits = network(input_ids=ids, attention_mask=mask.long()).logits
            for row, row_logits, length in zip(rows, logits, mask.sum(1).tolist(), strict=True):
                target = torch.as_tensor(sequences[row][-counts[row] :], device=logits.device)
                steps = row_logits[length - counts[row] : length].float().log_softmax(-1)
                scores[row] = steps.gather(1, target[:, None]).double().sum().item()
    return scores
