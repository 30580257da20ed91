"""A small task for trials: copy a word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, ClassVar

from tasks.base import MetricSpec, Split, Task, Tokenizer

if TYPE_CHECKING:
    from datasets import Dataset

_LETTERS = "abcdef"
_BOUNDS = {"train": (0, 16), "validation": (16, 20), "test": (20, 28)}


@dataclass(frozen=True, kw_only=True)
class Copying(Task):
    """Words of three letters, every seventh of them; a split is a range of them."""

    metrics: ClassVar[tuple[MetricSpec, ...]] = (MetricSpec("accuracy"), MetricSpec("trajectories"))

    @property
    def error_tokens(self) -> tuple[str, ...]:
        """All letters."""
        return tuple(_LETTERS)

    @property
    def max_new_tokens(self) -> int:
        """A letter more than a word has."""
        return 4

    def corpus(self) -> Iterator[str]:
        """The letters."""
        yield _LETTERS

    def examples(self, split: Split, tokenizer: Tokenizer) -> Dataset:
        """The words of a split, each to be copied."""
        from datasets import Dataset

        del tokenizer
        words = ["".join(letters) for letters in product(_LETTERS, repeat=3)][::7][slice(*_BOUNDS[split])]
        return Dataset.from_dict({"prompt": words, "completion": words, "finished": [True] * len(words)})
