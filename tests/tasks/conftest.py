from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SYLLABLES = ("ba", "ce", "di", "fo", "gu", "han", "jel", "kim", "lor", "mus")


def prose(words: int, seed: int) -> str:
    """Random words in sentences and paragraphs, with numbers and letters beyond ASCII."""
    rng = np.random.default_rng(seed)
    pieces = []
    for i in range(words):
        word = "".join(rng.choice(SYLLABLES, size=rng.integers(1, 5)))
        if i % 17 == 5:
            word = str(rng.integers(10_000))
        if i % 23 == 7:
            word += "é—ü"
        pieces.append(word + (".\n\n" if i % 40 == 39 else ", " if i % 9 == 8 else " "))
    return "".join(pieces)


def train_bpe(texts: Iterable[str], merges: int = 200) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=256 + merges, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@pytest.fixture(scope="session")
def train_tokenizer() -> Callable[..., PreTrainedTokenizerFast]:
    return train_bpe


@pytest.fixture(scope="session")
def documents() -> list[str]:
    return [prose(400, seed) for seed in range(20)]


@pytest.fixture(scope="session")
def bpe(documents) -> PreTrainedTokenizerFast:
    return train_bpe(documents)


@pytest.fixture(scope="session")
def metaspace(documents) -> PreTrainedTokenizerFast:
    """A tokenizer that writes spaces as Llama 2 does, and drops one where a text begins."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    # The words that prose() extends with letters beyond ASCII stay out: those letters are unknown.
    plain = [" ".join(word for word in text.split() if word.isascii()) for text in documents]
    tokenizer.train_from_iterator(plain, trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>"]))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
