"""What a task is: examples to learn from, prompts to be tested on, and the metrics that judge it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    from datasets import Dataset

    from tasks.language import Language

Split = Literal["train", "validation", "test"]

Judge = Callable[[str, str, bool], bool]
"""``(completion, reference, ended)``: is it right, or if it has not ended, can it still become so?"""


class TaskError(ValueError):
    """A task cannot be built from its settings; the message says what to change."""


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that a task may use."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]: ...

    def decode(self, token_ids: list[int]) -> str: ...


@dataclass(frozen=True)
class MetricSpec:
    """A metric by its registered name, with settings that override the metric's defaults."""

    name: str
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class FixedLengths:
    """What all training examples take.

    Attributes:
        examples: number of them.
        prompt: tokens of a prompt, without a start token.
        completion: tokens of a completion, and its end where it is finished.
    """

    examples: int
    prompt: int
    completion: int


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """Examples, test prompts and metrics; the dataclass fields of a subclass are its settings.

    Life cycle: the harness builds the task from a study's settings, trains a tokenizer on
    ``corpus()`` where the model is fresh, then asks for ``examples`` once per split. Everything a task
    draws comes from its own ``seed`` field, so all trainers and all training seeds see one data set.
    """

    metrics: ClassVar[tuple[MetricSpec, ...]]
    """Metrics that judge the task unless a study names others."""

    disjoint: ClassVar[bool] = True
    """Whether a test example that also occurs in training is an error."""

    @property
    def error_tokens(self) -> tuple[str, ...]:
        """Strings, each one token, that make plausible mistakes (noise of kind ``task``)."""
        return ()

    def judge(self) -> Judge | None:
        """Return what tells right completions from wrong ones; None where the truth is not known."""
        return None

    def finite_language(self) -> Language | None:
        """Return the language that completions are drawn from; None where it cannot be enumerated."""
        return None

    @property
    def fixed_lengths(self) -> FixedLengths | None:
        """The lengths of training examples where settings fix them, so that a study is planned without data."""
        return None

    @property
    def local(self) -> bool:
        """Whether the data are on this machine."""
        return True

    @property
    @abstractmethod
    def max_new_tokens(self) -> int:
        """The longest visible completion, in tokens, that a policy may write."""

    @abstractmethod
    def corpus(self) -> Iterator[str]:
        """Yield the training text on which a fresh tokenizer is trained.

        Raises:
            TaskError: if there is no text.
        """

    @abstractmethod
    def examples(self, split: Split, tokenizer: Tokenizer) -> Dataset:
        """Return the examples of a split.

        Args:
            split: which part of the data.
            tokenizer: counts tokens for tasks whose lengths are fixed in tokens.

        Returns:
            Columns ``prompt`` and ``completion`` (strings, the convention of trl), and ``finished``
            (bool): whether the completion ends with the end-of-sequence action (True) or was cut out
            of a longer text (False).

        Raises:
            TaskError: if the split is empty or the settings do not fit the data.
        """
