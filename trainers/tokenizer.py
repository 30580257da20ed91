"""A byte-level BPE trained on a task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, BEGIN, END = "<pad>", "<s>", "</s>"


def train_bpe(texts: Iterable[str], merges: int, alphabet: Literal["bytes", "seen"]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE (Sennrich et al. 2016) in which every digit is a token of its own.

    Args:
        texts: training text.
        merges: number of merges; 0 makes every byte a token.
        alphabet: start from all 256 bytes, so that any text can be written, or only from those seen, so
            that the vocabulary is exactly that of the task.

    Returns:
        A tokenizer with padding, begin and end tokens; the begin token is not added by itself.

    Raises:
        ValueError: if there is no text.
    """
    splitter = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    kept = [text for text in texts if text]
    if not kept:
        raise ValueError("cannot train a tokenizer: there is no text")
    if alphabet == "bytes":
        initial = pre_tokenizers.ByteLevel.alphabet()
    else:
        seen = set("".join(set("".join(kept))))
        initial = sorted({char for piece, _ in splitter.pre_tokenize_str(" ".join(sorted(seen))) for char in piece})
        initial = initial if " " in seen else [char for char in initial if char != "Ġ"]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = splitter
    bpe.decoder = decoders.ByteLevel()
    special = [PAD, BEGIN, END]
    bpe.train_from_iterator(
        kept,
        trainers.BpeTrainer(
            vocab_size=len(special) + len(initial) + merges,
            special_tokens=special,
            initial_alphabet=initial,
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token=PAD, bos_token=BEGIN, eos_token=END)
