from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tasks.base import TaskError
from tasks.windows import Window, WindowSampler, _match


def sampler(documents, tokenizer, *, prompt_tokens=5, completion_tokens=11, seed=0, overlap=True):
    return WindowSampler(
        documents,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        tokenizer=tokenizer,
        rng=np.random.default_rng(seed),
        overlap=overlap,
    )


def test_lengths_are_exact_and_windows_come_from_the_text(documents, bpe):
    windows = sampler(documents, bpe).draw(500)
    assert len(set(windows)) == 500
    for prompt, completion in windows:
        ids = bpe.encode(prompt, add_special_tokens=False), bpe.encode(completion, add_special_tokens=False)
        assert [*map(len, ids)] == [5, 11]
        places = [text.find(prompt + completion) for text in documents]
        assert any(
            place == 0 or (place > 0 and text[place - 1].isspace())
            for place, text in zip(places, documents, strict=True)
        )
        assert not prompt[0].isspace()


def test_tokens_are_those_of_the_running_text(documents, bpe):
    for prompt, completion in sampler(documents, bpe).draw(100):
        text = next(text for text in documents if prompt + completion in text)
        running = bpe.encode(text[text.index(prompt + completion) :], add_special_tokens=False)
        assert running[:16] == bpe.encode(prompt) + bpe.encode(completion)


def test_hardly_any_window_is_thrown_away(documents, bpe):
    drawn = sampler(documents, bpe)
    drawn.draw(500)
    assert drawn.tally["kept"] == 500
    # prose() has letters of two bytes, and a cut between them cannot be written as text.
    assert 0 < drawn.tally["changed"] < 50


def test_places_are_uniform_over_characters(bpe, documents):
    long, short = documents[0] + documents[1] + documents[2], documents[3]
    windows = sampler([long, short], bpe, prompt_tokens=1, completion_tokens=2).draw(400)
    share = np.mean([prompt + completion in long for prompt, completion in windows])
    assert 0.65 < share < 0.85
    halves = np.mean([long.find(p + c) < len(long) / 2 for p, c in windows if p + c in long])
    assert 0.4 < halves < 0.6


def test_windows_without_overlap(documents, bpe):
    windows = sampler(documents[:2], bpe, overlap=False).draw(60)
    for text in documents[:2]:
        spans = sorted((text.find(p + c), text.find(p + c) + len(p + c)) for p, c in windows if p + c in text)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    overlapping = sampler(documents[:2], bpe, overlap=True).draw(400)
    assert len(overlapping) == 400


def test_spaces_that_a_tokenizer_drops_are_no_difference(documents, metaspace):
    windows = sampler(documents, metaspace).draw(200)
    texts = ["".join(text.split()) for text in documents]
    for prompt, completion in windows:
        assert len(metaspace.encode(prompt, add_special_tokens=False)) == 5
        assert len(metaspace.encode(completion, add_special_tokens=False)) == 11
        assert any("".join((prompt + completion).split()) in text for text in texts)
        assert "<unk>" not in prompt + completion


class Words:
    """A tokenizer whose tokens are words, and which marks the beginning where it is not told otherwise."""

    def __init__(self):
        self.words = ["<s>"]
        self.ids = {}

    def encode(self, text, *, add_special_tokens=True):
        for word in text.split():
            if word not in self.ids:
                self.ids[word] = len(self.words)
                self.words.append(word)
        return [0] * add_special_tokens + [self.ids[word] for word in text.split()]

    def decode(self, token_ids):
        return " ".join(self.words[i] for i in token_ids)


@pytest.mark.parametrize("length", [2, 4, 60])
def test_words_of_any_length_are_whole(length):
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdef"), size=length + rng.integers(-1, 2))) for _ in range(600)]
    drawn = sampler([" ".join(words)], Words())
    windows = drawn.draw(100)
    assert drawn.tally["short"] < 10
    for prompt, completion in windows:
        assert [len(prompt.split()), len(completion.split())] == [5, 11]
        assert f" {prompt} {completion} " in f" {' '.join(words)} "


def test_same_seed_same_windows(documents, bpe):
    assert sampler(documents, bpe).draw(30) == sampler(documents, bpe).draw(30)
    assert sampler(documents, bpe).draw(30) != sampler(documents, bpe, seed=1).draw(30)


def test_documents_that_are_too_short(documents, bpe):
    with pytest.raises(TaskError, match=r"10 windows of 16 tokens.*too short for windows of 16 tokens"):
        sampler(["ba ce di"] * 5, bpe).draw(10)
    # Empty documents among the others do no harm.
    assert len(sampler(["", *documents[:2], ""], bpe).draw(10)) == 10


@pytest.mark.parametrize("overlap", [True, False])
def test_a_text_that_is_used_up(documents, bpe, overlap):
    with pytest.raises(TaskError, match="the windows found cover most of the text"):
        sampler(documents[:1], bpe, overlap=overlap).draw(2000)


def test_a_tokenizer_that_does_not_fit(documents):
    class Lossy:
        def encode(self, text, *, add_special_tokens=True):
            return [ord(character) for character in text]

        def decode(self, ids):
            return "".join(map(chr, ids)).upper()

    with pytest.raises(TaskError, match="the tokenizer does not fit"):
        sampler(documents, Lossy()).draw(10)


@pytest.mark.parametrize(
    ("window", "end"),
    [
        (Window("ab c", " d"), 7),
        (Window("ab c", "d"), 7),
        (Window("ab", "c"), 5),
        (Window("ab", "x"), None),
        (Window("ab c", " d e f"), None),
    ],
)
def test_match(window, end):
    assert _match(window, "- ab c d e", 2) == (end + 1 if end is not None else None)
