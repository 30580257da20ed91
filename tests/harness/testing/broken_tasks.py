"""A task that conforms, and one for each way not to: named by the path of this file."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from datasets import Dataset

from metrics.base import KnownAnswer, Metric, MetricContext, MetricError, Value
from tasks.base import FixedLengths, Judge, MetricSpec, Split, Task, TaskError, Tokenizer
from tasks.examples import examples_table

LETTERS = "abcdefgh"
METRICS = Path(__file__).with_name("broken_metrics.py")
calls = count()


@dataclass(frozen=True, kw_only=True)
class Fine(Task):
    """Copy a word of eight letters.

    Attributes:
        train, validation, test: number of words.
        seed: of the words.
    """

    metrics: ClassVar[tuple[MetricSpec, ...]] = (MetricSpec("accuracy"), MetricSpec("trajectories"))

    train: int = 24
    validation: int = 8
    test: int = 8
    seed: int = 0

    @property
    def max_new_tokens(self) -> int:
        return 10

    @property
    def error_tokens(self) -> tuple[str, ...]:
        return tuple(LETTERS)

    def judge(self) -> Judge | None:
        return lambda completion, reference, ended: (
            completion == reference if ended else reference.startswith(completion)
        )

    def corpus(self) -> Iterator[str]:
        yield from (prompt + completion for prompt, completion in self.pairs("train"))

    def examples(self, split: Split, tokenizer: Tokenizer) -> Dataset:
        if split not in ("train", "validation", "test"):
            raise TaskError(f"there is no split {split!r}")
        return self.table(self.pairs(split))

    def table(self, pairs: list[tuple[str, str]]) -> Dataset:
        return examples_table([pair[0] for pair in pairs], [pair[1] for pair in pairs], finished=True)

    def pairs(self, split: str) -> list[tuple[str, str]]:
        return [(f"{word}\n", word) for word in self.words(split)]

    def words(self, split: str, *more: int) -> list[str]:
        rng = np.random.default_rng([self.seed, *more])
        sizes = self.train, self.validation, self.test
        drawn = iter(rng.choice(8**8, size=sum(sizes), replace=False).tolist())
        names = ("train", "validation", "test")
        found = {name: [next(drawn) for _ in range(size)] for name, size in zip(names, sizes, strict=True)}
        return ["".join(LETTERS[int(digit)] for digit in f"{number:08o}") for number in found[split]]


class Least(Task):
    """What may be left out is left out: settings, a judge, errors, and splits that are apart."""

    metrics: ClassVar[tuple[MetricSpec, ...]] = Fine.metrics
    disjoint: ClassVar[bool] = False
    max_new_tokens: ClassVar[int] = 10

    def corpus(self) -> Iterator[str]:
        return Fine().corpus()

    def examples(self, split: Split, tokenizer: Tokenizer) -> Dataset:
        return Fine().examples(split, tokenizer)


class NoValidation(Fine):
    def pairs(self, split: str) -> list[tuple[str, str]]:
        return super().pairs(split) if split != "validation" else []


class Renamed(Fine):
    def table(self, pairs: list[tuple[str, str]]) -> Dataset:
        return super().table(pairs).rename_column("completion", "answer")


class CountsFinished(Fine):
    def table(self, pairs: list[tuple[str, str]]) -> Dataset:
        return Dataset.from_dict(
            {"prompt": [p for p, _ in pairs], "completion": [c for _, c in pairs], "finished": [1] * len(pairs)}
        )


class Missing(Fine):
    def table(self, pairs: list[tuple[str, str]]) -> Dataset:
        completions = [None, *(completion for _, completion in pairs[1:])]
        return Dataset.from_dict(
            {"prompt": [p for p, _ in pairs], "completion": completions, "finished": [True] * len(pairs)}
        )


class Lists(Fine):
    def table(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return pairs


class Silent(Fine):
    def pairs(self, split: str) -> list[tuple[str, str]]:
        return [(super().pairs(split)[0][0], ""), *super().pairs(split)[1:]]


class AnySplit(Fine):
    def examples(self, split: Split, tokenizer: Tokenizer) -> Dataset:
        return self.table(self.pairs(split if split in ("train", "validation") else "test"))


class KeyErrors(Fine):
    def examples(self, split: Split, tokenizer: Tokenizer) -> Dataset:
        return self.table(self.pairs(split))


class TestsTraining(Fine):
    """A test prompt of training, with another completion."""

    def pairs(self, split: str) -> list[tuple[str, str]]:
        known = super().pairs("train")[0]
        return [(known[0], known[1][::-1]), *super().pairs("test")[1:]] if split == "test" else super().pairs(split)


class TestsValidation(Fine):
    def pairs(self, split: str) -> list[tuple[str, str]]:
        known = super().pairs("validation")[0]
        return [known, *super().pairs("test")[1:]] if split == "test" else super().pairs(split)


class LeakyCorpus(Fine):
    def corpus(self) -> Iterator[str]:
        yield from super().corpus()
        yield from (prompt + completion for prompt, completion in self.pairs("test"))


class LeakyCorpusOfShortTexts(LeakyCorpus):
    def pairs(self, split: str) -> list[tuple[str, str]]:
        return [(f"{word}\n", word[:2]) for word in self.words(split)]


class Unrepeatable(Fine):
    def words(self, split: str, *more: int) -> list[str]:
        return super().words(split, next(calls))


class FirstAsked(Fine):
    def examples(self, split: Split, tokenizer: Tokenizer) -> Dataset:
        self.__dict__.setdefault("first", split)
        return super().examples(split, tokenizer)

    def words(self, split: str, *more: int) -> list[str]:
        return super().words(split, len(self.__dict__.get("first", "train")))


class ReadsTheGenerator(Fine):
    def words(self, split: str, *more: int) -> list[str]:
        return super().words(split, int(np.random.get_state()[1][5]))  # noqa: NPY002


class Draws(Fine):
    def words(self, split: str, *more: int) -> list[str]:
        random.random()
        return super().words(split)


class IgnoresSeed(Fine):
    def words(self, split: str, *more: int) -> list[str]:
        return Fine(train=self.train, validation=self.validation, test=self.test).words(split)


class OfTheFolder(Fine):
    def words(self, split: str, *more: int) -> list[str]:
        return super().words(split, *os.getcwd().encode())


class Litters(Fine):
    def words(self, split: str, *more: int) -> list[str]:
        Path("words.txt").write_text("words")
        return super().words(split)


class OtherCorpus(Fine):
    def corpus(self) -> Iterator[str]:
        yield from super().corpus()
        yield str(next(calls))


class Remembers(Fine):
    def examples(self, split: Split, tokenizer: Tokenizer) -> Dataset:
        table = super().examples(split, tokenizer)
        return self.__dict__.setdefault(f"table of {split}", table)


class Hashes(Fine):
    def words(self, split: str, *more: int) -> list[str]:
        return super().words(split, hash("words") % 1000)


class Controls(Fine):
    def pairs(self, split: str) -> list[tuple[str, str]]:
        return [(f"<bksp>{prompt}", completion) for prompt, completion in super().pairs(split)]


class CutsWords(Fine):
    def pairs(self, split: str) -> list[tuple[str, str]]:
        return [(word[:7], word[7:]) for word in self.words(split)]


class OtherLetters(Fine):
    def corpus(self) -> Iterator[str]:
        return (text.upper() for text in super().corpus())


class HalfTokens(Fine):
    @property
    def max_new_tokens(self) -> float:
        return 10.5


class MovingBound(Fine):
    @property
    def max_new_tokens(self) -> int:
        return 10 + len(self.__dict__.setdefault("asked", []))

    def examples(self, split: Split, tokenizer: Tokenizer) -> Dataset:
        self.__dict__.setdefault("asked", []).append(split)
        return super().examples(split, tokenizer)


class TooShort(Fine):
    @property
    def max_new_tokens(self) -> int:
        return 1


class TooLong(Fine):
    @property
    def max_new_tokens(self) -> int:
        return 5000


class Miscounts(Fine):
    @property
    def fixed_lengths(self) -> FixedLengths:
        return FixedLengths(examples=self.train + 1, prompt=1, completion=1)


class Mismeasures(Fine):
    @property
    def fixed_lengths(self) -> FixedLengths:
        return FixedLengths(self.train, prompt=99, completion=1)


class LongErrors(Fine):
    @property
    def error_tokens(self) -> tuple[str, ...]:
        return ("a", "~~b")


class SameErrors(Fine):
    @property
    def error_tokens(self) -> tuple[str, ...]:
        return ("a", "a")


class EmptyError(Fine):
    @property
    def error_tokens(self) -> tuple[str, ...]:
        return ("a", "")


class ListOfErrors(Fine):
    @property
    def error_tokens(self) -> list[str]:
        return ["a"]


class NeverRight(Fine):
    def judge(self) -> Judge:
        return lambda completion, reference, ended: not ended and reference.startswith(completion)


class Impatient(Fine):
    def judge(self) -> Judge:
        return lambda completion, reference, ended: completion == reference


class AlwaysRight(Fine):
    def judge(self) -> Judge:
        return lambda completion, reference, ended: True


class EndsBetter(Fine):
    def judge(self) -> Judge:
        return lambda completion, reference, ended: (
            completion in (reference, f"{reference}~") if ended else reference.startswith(completion)
        )


class Shy(Fine):
    def judge(self) -> Judge:
        right = super().judge()
        return lambda completion, reference, ended: (
            1 / len(completion.replace("\x00", "")) < 2 and right(completion, reference, ended)
            if completion == "\x00"
            else right(completion, reference, ended)
        )


class Counts(Fine):
    def judge(self) -> Judge:
        right = super().judge()
        return lambda *case: int(right(*case))


class ChangesItsMind(Fine):
    def judge(self) -> Judge:
        right, seen = super().judge(), set()

        def judge(*case: object) -> bool:
            known = case in seen
            seen.add(case)
            return known or right(*case)

        return judge


class NoMetrics(Fine):
    metrics: ClassVar[tuple[MetricSpec, ...]] = ()


class MisspeltMetric(Fine):
    metrics: ClassVar[tuple[MetricSpec, ...]] = (MetricSpec("acuracy"),)


class MisspeltSetting(Fine):
    metrics: ClassVar[tuple[MetricSpec, ...]] = (MetricSpec("accuracy"), MetricSpec("diversity", {"zip": True}))


class MetricTwice(Fine):
    """Twice by name; what they report is another check's concern."""

    metrics: ClassVar[tuple[MetricSpec, ...]] = (MetricSpec("accuracy"), MetricSpec("accuracy"))


class BareNames(Fine):
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)


class WantsLanguage(Fine):
    metrics: ClassVar[tuple[MetricSpec, ...]] = (MetricSpec("exact"),)


class WantsMany(Fine):
    metrics: ClassVar[tuple[MetricSpec, ...]] = (MetricSpec("mauve"),)


class ReportsTwice(Fine):
    metrics: ClassVar[tuple[MetricSpec, ...]] = (MetricSpec("accuracy"), MetricSpec(f"{METRICS}:Clashes"))


class Thaws(Fine):
    __setattr__ = object.__setattr__


class Undecorated(Fine):
    """It annotates what is no setting.

    Attributes:
        length: of words.
    """

    length: int = 8


@dataclass(frozen=True, kw_only=True)
class Undocumented(Fine):
    """A word on words, and none on settings."""

    mystery: int = 8


@dataclass(frozen=True, kw_only=True)
class NoDocstring(Fine):
    riddle: int = 8


@dataclass(frozen=True, kw_only=True)
class Drifts(Fine):
    """More every time."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "train", self.train + 1)


class NoPickle(Fine):
    def __reduce__(self) -> str:
        raise TypeError("cannot pickle words")


class NoPickleAfterUse(Fine):
    def examples(self, split: Split, tokenizer: Tokenizer) -> Dataset:
        self.__dict__["order"] = lambda word: word
        return super().examples(split, tokenizer)


@dataclass(frozen=True, kw_only=True)
class Perfectionist(Metric):
    """Measures references, and nothing that has a mistake."""

    values: ClassVar[Mapping[str, Value]] = {"perfect": Value(True, (0, 1))}

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        if (generations["completion"] != generations["reference"]).any():
            raise MetricError("there is a mistake")
        return {"perfect": 1.0}

    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        return []


class Refuses(Perfectionist):
    """Measures nothing."""

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        raise MetricError("not these generations")


class BrokenMetric(Fine):
    metrics: ClassVar[tuple[MetricSpec, ...]] = (MetricSpec(f"{Path(__file__)}:Refuses"),)


class Discouraging(Fine):
    metrics: ClassVar[tuple[MetricSpec, ...]] = (MetricSpec(f"{Path(__file__)}:Perfectionist"),)


class Fastidious(Perfectionist):
    """Says nothing where there is a mistake."""

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        right = (generations["completion"] == generations["reference"]).all()
        return {"perfect": 1.0} if right else {}


class Reserved(Fine):
    metrics: ClassVar[tuple[MetricSpec, ...]] = (*Fine.metrics, MetricSpec(f"{Path(__file__)}:Fastidious"))
