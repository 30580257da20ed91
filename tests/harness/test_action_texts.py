from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.action_texts import action_texts, pieces
from metrics.tabular import ActionIds
from trainers.tokenizer import train_bpe

EOS, BKSP = 1000, 1001
ACTIONS = ActionIds(EOS, BKSP)


@cache
def tokenizer():
    return train_bpe(["häuser €uro 😀😀 abc abc", "ab ab ab"], merges=12, alphabet="bytes")


def decode(ids):
    return str(tokenizer().decode(ids))


def trimming(ids):
    """Like sentencepiece: a token brings its space, and the first loses it; some text changes with what follows."""
    return "".join(f" {each}" for each in ids).lstrip().replace("1 2", "X")


def turning(ids):
    """Its beginning changes with every token, so a text that was longer can agree on less."""
    texts = [f"{each}{each}" for each in ids]
    return "".join(texts if len(ids) % 3 else texts[::-1])


@st.composite
def walks(draw, tokens):
    taken, depth = [], 0
    for action in draw(st.lists(st.one_of(tokens, tokens, st.just(BKSP)), max_size=30)):
        if action != BKSP or depth:
            depth += 1 if action != BKSP else -1
            taken.append(action)
    return taken + [EOS] * draw(st.booleans())


def final(taken):
    kept = []
    for step, action in enumerate(taken):
        if action == BKSP:
            kept.pop()
        elif action != EOS:
            kept.append(step)
    return kept


DECODERS = [(decode, st.integers(3, 270)), (trimming, st.integers(0, 3)), (turning, st.integers(0, 1))]


@pytest.mark.parametrize(("decode", "tokens"), DECODERS)
def test_texts_of_what_stayed_join_to_the_decoded_text(decode, tokens):
    @given(walks(tokens))
    @example([])
    def holds(taken):
        texts = action_texts(taken, ACTIONS, decode)
        kept = final(taken)
        assert "".join(texts[step] for step in kept) == decode([taken[step] for step in kept])
        assert [text is None for text in texts] == [action == BKSP for action in taken]
        assert all(texts[step] == "" for step, action in enumerate(taken) if action == EOS)

    holds()


@given(st.text(max_size=20))
def test_a_character_of_several_tokens_belongs_to_the_last(text):
    ids = tokenizer().encode(text)
    parts = pieces(ids, decode)
    assert "".join(parts) == text
    assert not any("\ufffd" in part for part in parts) or "\ufffd" in text


def test_erased_parts_of_a_character_show():
    first, second = tokenizer().encode("ö")
    other = tokenizer().encode("à")[1]
    assert action_texts([first, second, BKSP, other, EOS], ACTIONS, decode) == ["", "ö", None, "à", ""]
    assert action_texts([first, BKSP], ACTIONS, decode) == ["\ufffd", None]
    assert action_texts([first, BKSP, second], ACTIONS, decode) == ["\ufffd", None, "\ufffd"]


def test_without_backspace_nothing_is_none():
    assert action_texts([3, 4], ActionIds(EOS, None), lambda ids: "".join(map(str, ids))) == ["3", "4"]
