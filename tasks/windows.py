"""Windows of fixed length in tokens, cut out of documents."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

import numpy as np

from tasks.base import TaskError, Tokenizer
from tasks.corpora import WORD

DRAWS = 1000
"""Draws after which the share of windows kept is looked at."""
LEAST_YIELD = 0.02
"""Share of windows kept below which the text counts as used up."""
CHARACTERS = 5
"""Characters a token that are tokenised at first."""
MARGIN = 8
"""Tokens beyond the window that are tokenised, so that the cut end of the text does not reach into it."""


Rejection = Literal["short", "changed", "taken"]


class Window(NamedTuple):
    """A piece of a document: the prompt, and the completion that follows it."""

    prompt: str
    completion: str


class WindowSampler:
    """Draws windows at random places, each starting at the beginning of a word.

    Places are uniform over the characters of all documents. A window is kept only if prompt and
    completion, encoded apart, give exactly the token ids that were cut, so that lengths in tokens are exact
    and no token is of a kind that the tokenizer would not produce.

    Attributes:
        tally: what became of the draws: "kept", "short" (the document ends before the window does),
            "changed" (a piece encodes to other tokens), "taken" (the text, or where windows may not
            overlap a part of it, is in an earlier window).
    """

    def __init__(
        self,
        documents: Sequence[str],
        *,
        prompt_tokens: int,
        completion_tokens: int,
        tokenizer: Tokenizer,
        rng: np.random.Generator,
        overlap: bool,
    ) -> None:
        """Prepare to draw.

        Args:
            documents: the text; a window lies within one of them.
            prompt_tokens: length of prompts.
            completion_tokens: length of completions.
            tokenizer: what the lengths are counted in.
            rng: source of the places.
            overlap: whether two windows may share text; they are different in any case.
        """
        self.tally: Counter[str] = Counter()
        self._documents = documents
        self._ends = list(accumulate(map(len, documents)))
        self._prompt_tokens = prompt_tokens
        self._tokens = prompt_tokens + completion_tokens
        self._tokenizer = tokenizer
        self._rng = rng
        self._overlap = overlap
        self._seen: set[Window] = set()
        self._spans: dict[int, list[tuple[int, int]]] = {}

    def draw(self, count: int) -> list[Window]:
        """Return ``count`` windows.

        Raises:
            TaskError: if hardly any new window is found any more; the message says why.
        """
        windows: list[Window] = []
        draws = kept = 0
        while len(windows) < count:
            if draws == DRAWS:
                if len(windows) - kept < LEAST_YIELD * DRAWS:
                    raise TaskError(self._explain(count, len(windows)))
                draws, kept = 0, len(windows)
            outcome = self._try()
            draws += 1
            if isinstance(outcome, Window):
                windows.append(outcome)
                self.tally["kept"] += 1
            else:
                self.tally[outcome] += 1
        return windows

    def _try(self) -> Window | Rejection:
        """Draw a place, and return the window there or what is wrong with it."""
        place = int(self._rng.integers(self._ends[-1]))
        number = bisect_right(self._ends, place)
        text = self._documents[number]
        word = WORD.search(text, place - (self._ends[number] - len(text)))
        if word is None:
            return "short"
        start = word.start()
        ids = self._encode_from(text, start)
        if len(ids) < self._tokens:
            return "short"
        pieces = ids[: self._prompt_tokens], ids[self._prompt_tokens : self._tokens]
        window = Window(*map(self._tokenizer.decode, pieces))
        end = _match(window, text, start)
        if end is None or any(self._encode(text) != ids for text, ids in zip(window, pieces, strict=True)):
            return "changed"
        spans = self._spans.setdefault(number, [])
        if window in self._seen or (not self._overlap and any(start < b and a < end for a, b in spans)):
            return "taken"
        self._seen.add(window)
        spans.append((start, end))
        return window

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _encode_from(self, text: str, start: int) -> list[int]:
        """Tokenise from a place on: at least a window and the margin, or up to the end of the text."""
        needed = self._tokens + MARGIN
        width = CHARACTERS * needed
        while True:
            ids = self._encode(text[start : start + width])
            if len(ids) >= needed or start + width >= len(text):
                return ids
            width *= 2

    def _explain(self, count: int, found: int) -> str:
        reasons = {
            "short": f"the documents are too short for windows of {self._tokens} tokens",
            "changed": "pieces of the text encode to other tokens than the whole: the tokenizer does not fit the task",
            "taken": "the windows found cover most of the text",
        }
        reason = max(reasons, key=lambda name: self.tally[name])
        return (
            f"{count} windows of {self._tokens} tokens were asked for, {found} found in "
            f"{len(self._documents)} documents of {self._ends[-1]} characters: {reasons[reason]} "
            f"(draws: {dict(self.tally)})"
        )


def _match(window: Window, text: str, start: int) -> int | None:
    """Return where in ``text`` a window from ``start`` ends; None if it says something else.

    White space is not compared, since some tokenizers drop it where a piece begins.
    """
    whole = "".join(window)
    if text.startswith(whole, start):
        return start + len(whole)
    end = start
    for character in "".join(whole.split()):
        while end < len(text) and text[end].isspace():
            end += 1
        if not text.startswith(character, end):
            return None
        end += 1
    return end
