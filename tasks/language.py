"""A random finite language whose true distribution is known: what a policy writes can be judged exactly."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tasks.automaton import Automaton
from tasks.base import Judge, MetricSpec, Split, Task, TaskError, Tokenizer
from tasks.examples import examples_table
from tasks.settings import SPLITS, require_whole, split_number

if TYPE_CHECKING:
    from datasets import Dataset

MAX_STRINGS = 100_000
"""Largest language that is listed."""
MAX_LENGTH = 64
"""Largest length of a string, in symbols."""
TRIES = 1000
"""Automata drawn before giving up that one uses the whole alphabet."""


@dataclass(eq=False)
class Language:
    """A distribution over finitely many strings; satisfies ``metrics.base.FiniteLanguage``.

    Attributes:
        alphabet: the symbols, single characters.
        max_length: length of the longest string that may be in the language, in symbols.
        strings: all strings, each a tuple of indices into ``alphabet``; shorter ones first, those of one
            length in the order of their symbols.
        probabilities: float64, shape ``(len(strings),)``, sums to 1.
    """

    alphabet: tuple[str, ...]
    max_length: int
    strings: tuple[tuple[int, ...], ...]
    probabilities: np.ndarray

    @classmethod
    def of(cls, automaton: Automaton, alphabet: Sequence[str], max_length: int) -> Language:
        """Return what an automaton writes, given that it stops within ``max_length`` symbols.

        The probabilities of the strings that are short enough are divided by their sum.

        Raises:
            TaskError: if there are more than ``MAX_STRINGS`` strings.
        """
        count = automaton.count(max_length)
        if count > MAX_STRINGS:
            raise TaskError(
                f"the language has {count} strings of up to {max_length} symbols, more than the {MAX_STRINGS} that "
                "can be listed; lower max_length or branching"
            )
        strings, masses = zip(*automaton.strings(max_length), strict=True)
        probabilities = np.array(masses, dtype=np.float64)
        return cls(tuple(alphabet), max_length, strings, probabilities / probabilities.sum())

    def sample(self, n: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
        """Draw ``n`` strings independently."""
        return [self.strings[i] for i in rng.choice(len(self.strings), size=n, p=self.probabilities)]

    def text(self, symbols: Sequence[int]) -> str:
        """Write a string with the characters of the alphabet."""
        return "".join(self.alphabet[symbol] for symbol in symbols)


@dataclass(frozen=True, kw_only=True)
class LanguageTask(Task):
    """Strings of a seeded random language, written from nothing.

    The language is that of a sparse probabilistic automaton, conditioned on strings of at most
    ``max_length`` symbols; automata are drawn until every symbol occurs in some string. The empty string
    is not in it. A prompt is empty: a policy starts with its begin token.

    Attributes:
        symbols: size of the alphabet, ``a``, ``b``, and so on.
        states: states of the automaton.
        branching: symbols that may follow at each state.
        max_length: length of the longest string, at most 64.
        train, validation, test: number of strings in each split, drawn independently.
        seed: seed of the language and of the draws.
    """

    metrics: ClassVar[tuple[MetricSpec, ...]] = tuple(
        map(MetricSpec, ("exact", "perplexity", "diversity", "trajectories"))
    )

    disjoint: ClassVar[bool] = False
    """The splits are independent samples of one finite distribution: test strings do occur in training."""

    symbols: int = 5
    states: int = 6
    branching: int = 2
    max_length: int = 5
    train: int = 5000
    validation: int = 500
    test: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        require_whole(self, "symbols", high=len(string.ascii_lowercase))
        require_whole(self, "states", low=2)
        require_whole(self, "branching", *SPLITS)
        require_whole(self, "max_length", high=MAX_LENGTH)
        require_whole(self, "seed", low=0)
        if self.branching > self.symbols:
            raise TaskError(f"LanguageTask: branching {self.branching} is larger than symbols {self.symbols}")

    def finite_language(self) -> Language:
        """Return the language, see ``language``."""
        return self.language

    @property
    def max_new_tokens(self) -> int:
        """Two more than the longest string.

        A text that gets so long is cut and is in no language, but a token too many after the longest string can
        still be erased: with one token less, a policy with backspace would be punished where others are not.
        """
        return self.max_length + 2

    @property
    def error_tokens(self) -> tuple[str, ...]:
        """The alphabet."""
        return self.language.alphabet

    @cached_property
    def language(self) -> Language:
        """The language, whose distribution the data is drawn from.

        Raises:
            TaskError: if it is too large to be listed, or no automaton was found that uses the alphabet.
        """
        rng = np.random.default_rng([self.seed, len(SPLITS)])
        for _ in range(TRIES):
            automaton = Automaton.random(self.symbols, self.states, self.branching, rng)
            if len(automaton.symbols(self.max_length)) == self.symbols:
                return Language.of(automaton, string.ascii_lowercase[: self.symbols], self.max_length)
        raise TaskError(
            f"LanguageTask: among {TRIES} automata with states={self.states}, branching={self.branching}, "
            f"max_length={self.max_length} none uses all of symbols={self.symbols}; lower symbols or raise the others"
        )

    def judge(self) -> Judge:
        """Every string of the language is right, whatever the reference.

        Raises:
            TaskError: if the language cannot be built.
        """
        strings = {self.language.text(symbols) for symbols in self.language.strings}
        beginnings = {string[:length] for string in strings for length in range(len(string) + 1)}
        return lambda completion, _, ended: completion in (strings if ended else beginnings)

    def corpus(self) -> Iterator[str]:
        """Yield the symbols, which may be too rare to be in the training strings, and these.

        Raises:
            TaskError: if the language cannot be built.
        """
        yield from self.language.alphabet
        yield from self._texts("train")

    def examples(self, split: Split, tokenizer: Tokenizer) -> Dataset:
        """Return the examples of a split; the tokenizer has no influence on them.

        Raises:
            TaskError: if the split is unknown, or the language cannot be built.
        """
        del tokenizer
        texts = self._texts(split)
        return examples_table([""] * len(texts), texts, finished=True)

    def _texts(self, split: Split) -> list[str]:
        rng = np.random.default_rng([self.seed, split_number(split)])
        return [self.language.text(symbols) for symbols in self.language.sample(getattr(self, split), rng)]
