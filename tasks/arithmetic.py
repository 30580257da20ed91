"""Addition and subtraction in another base, the arithmetic task of the SequenceMatch paper."""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from tasks.base import Judge, MetricSpec, Split, Task, TaskError, Tokenizer
from tasks.examples import examples_table
from tasks.mathematics import BASES, Generator, Problem
from tasks.settings import SPLITS, require_whole, split_number

if TYPE_CHECKING:
    from datasets import Dataset

DIGITS = string.digits + string.ascii_lowercase[:6]
DRAWS = 2000
"""Problems drawn at a time."""
LEAST_YIELD = 0.05
"""Share of new problems among the draws below which the space of problems counts as used up."""


@dataclass(frozen=True, kw_only=True)
class Arithmetic(Task):
    """Questions such as "In base 7, what is 532 - -12?" with their answers.

    Problems come from ``add_or_sub_in_base`` of the DeepMind mathematics dataset
    (see ``tasks.mathematics.Generator`` for what the restrictions do to it). No question occurs twice, in
    one split or in two. The test questions of a seed do not depend on the sizes of the other splits. A
    prompt is a question and a newline, so that prompt and completion are tokenised alike apart and
    together; a completion is the answer alone, for exact match.

    Attributes:
        train, validation, test: number of examples in each split.
        min_base, max_base: range of the bases, within 2 to 16.
        max_digits: longest number in a question, in digits of its base; None: as the generator has it.
        answer_tokens: longest visible completion, in tokens. Problems whose answer has so many characters or
            more are left out, so an answer written one character a token can still be ended. 35 keeps every
            problem of the generator; 24 drops 0.5 % of them, all in base 2.
        seed: seed of the generator.
    """

    metrics: ClassVar[tuple[MetricSpec, ...]] = tuple(map(MetricSpec, ("accuracy", "perplexity", "trajectories")))

    train: int = 5000
    validation: int = 200
    test: int = 200
    min_base: int = 2
    max_base: int = 16
    max_digits: int | None = None
    answer_tokens: int = 24
    seed: int = 0

    def __post_init__(self) -> None:
        require_whole(self, *SPLITS)
        require_whole(self, "min_base", "max_base", low=BASES[0], high=BASES[1])
        require_whole(self, "answer_tokens", low=2)
        require_whole(self, "seed", low=0)
        if self.min_base > self.max_base:
            raise TaskError(f"Arithmetic: min_base {self.min_base} is larger than max_base {self.max_base}")
        if self.max_digits is not None:
            require_whole(self, "max_digits")

    @property
    def max_new_tokens(self) -> int:
        """The longest visible completion, in tokens, that a policy may write."""
        return self.answer_tokens

    @property
    def error_tokens(self) -> tuple[str, ...]:
        """The digits of the largest base, and the minus sign."""
        return (*DIGITS[: self.max_base], "-")

    def judge(self) -> Judge:
        """The answer is right but for white space at both ends."""

        def right(completion: str, reference: str, ended: bool) -> bool:
            if completion.strip() == reference.strip():
                return True
            return not ended and reference.startswith(completion.lstrip())

        return right

    def corpus(self) -> Iterator[str]:
        """Yield the training questions with their answers.

        Raises:
            TaskError: if there are fewer problems than asked for.
        """
        return (f"{problem.question}\n{problem.answer}" for problem in self._problems["train"])

    def examples(self, split: Split, tokenizer: Tokenizer) -> Dataset:
        """Return the examples of a split; the tokenizer has no influence on them.

        Raises:
            TaskError: if the split is unknown, or there are fewer problems than asked for.
        """
        del tokenizer
        split_number(split)
        problems = self._problems[split]
        prompts = [f"{problem.question}\n" for problem in problems]
        return examples_table(prompts, [problem.answer for problem in problems], finished=True)

    @cached_property
    def _problems(self) -> dict[str, list[Problem]]:
        """The problems of each split, the test set drawn first so that it depends on its own size only."""
        problems = self._distinct(self.train + self.validation + self.test)
        held_out = self.test + self.validation
        return {
            "test": problems[: self.test],
            "validation": problems[self.test : held_out],
            "train": problems[held_out:],
        }

    def _distinct(self, n: int) -> list[Problem]:
        if self.max_digits is not None and n > (space := self._space(self.max_digits)):
            raise self._too_few(n, f"only {space} exist")
        generator = Generator(self.seed, self.min_base, self.max_base, self.max_digits)
        problems: dict[str, Problem] = {}
        while len(problems) < n:
            before = len(problems)
            for problem in generator.draw(DRAWS):
                if len(problem.answer) < self.answer_tokens:
                    problems.setdefault(problem.question, problem)
            if len(problems) < n and len(problems) - before < LEAST_YIELD * DRAWS:
                raise self._too_few(n, f"after {len(problems)} new ones hardly appear")
        return list(problems.values())[:n]

    def _space(self, max_digits: int) -> int:
        """Number of questions that the restrictions allow."""
        numbers = (2 * base**max_digits - 1 for base in range(self.min_base, self.max_base + 1))
        return sum(2 * count**2 for count in numbers)

    def _too_few(self, n: int, found: str) -> TaskError:
        restrictions = {
            name: getattr(self, name) for name in ("min_base", "max_base", "max_digits", "answer_tokens", "seed")
        }
        settings = ", ".join(f"{name}={value}" for name, value in restrictions.items())
        return TaskError(
            f"Arithmetic: {n} different questions (train={self.train}, validation={self.validation}, "
            f"test={self.test}) cannot be drawn with {settings}: {found}; ask for fewer, or widen the restrictions"
        )
