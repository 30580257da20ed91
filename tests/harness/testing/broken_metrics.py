"""A metric that conforms, and one for each way not to: named by the path of this file."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import ClassVar

import numpy as np
import pandas as pd

from metrics.base import Estimate, KnownAnswer, Metric, MetricContext, MetricError, Need, Series, Value

calls = count(1)


def share(completion: str, reference: str) -> float:
    same = sum(one == other for one, other in zip(completion, reference, strict=False))
    return same / max(len(completion), len(reference), 1)


@dataclass(frozen=True, kw_only=True)
class Fine(Metric):
    """Share of letters that are right, place by place.

    Attributes:
        power: to which shares are raised.
    """

    columns: ClassVar[tuple[str, ...]] = ("completion", "reference")
    values: ClassVar[Mapping[str, Value]] = {"letters_right": Value(True, (0, 1))}

    power: float = 1.0

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        self.check(generations, context)
        return {"letters_right": self.score(generations, context)}

    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        return self.mean(self.shares(generations))

    def shares(self, generations: pd.DataFrame) -> list[float]:
        return [
            share(*pair) ** self.power for pair in zip(generations["completion"], generations["reference"], strict=True)
        ]

    def mean(self, shares: Sequence[float]) -> float:
        return Estimate(math.fsum(shares) / len(shares), np.std(shares) / len(shares) ** 0.5)

    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        return [KnownAnswer("three of four letters", share("abcd", "abxd"), 0.75)]


class Least(Metric):
    """What may be left out is left out: settings, columns, needs, curves, a least number of rows, and a direction."""

    minimum_n: ClassVar[int] = 0
    values: ClassVar[Mapping[str, Value]] = {"rows": Value(None, (0, math.inf))}

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        return {"rows": float(len(generations))}

    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        return [KnownAnswer("no rows", 0.0, 0.0)]


class NoAnswers(Fine):
    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        return []


class WrongAnswer(Fine):
    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        return [KnownAnswer("three of four letters", 0.75, 0.8)]


class OneCaseTwice(Fine):
    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        return super().known_answers() * 2


class TupleAnswers(Fine):
    @classmethod
    def known_answers(cls) -> list[tuple[str, float, float]]:
        return [("three of four letters", 0.75, 0.75)]


class NoValues(Fine):
    values: ClassVar[Mapping[str, Value]] = {}


class SpacedName(Fine):
    values: ClassVar[Mapping[str, Value]] = {**Fine.values, "letters wrong": Value(None, (0, 1))}


class TurnedRange(Fine):
    values: ClassVar[Mapping[str, Value]] = {**Fine.values, "letters_wrong": Value(None, (1, 0))}


class NamedDirection(Fine):
    values: ClassVar[Mapping[str, Value]] = {**Fine.values, "letters_wrong": Value("lower", (0, 1))}


class MisspeltHeadline(Fine):
    headline: ClassVar[tuple[str, ...]] = ("letters_right", "leters_wrong")


class ListedHeadline(Fine):
    headline: ClassVar[list[str]] = ["letters_right"]


class ListedColumns(Fine):
    columns: ClassVar[list[str]] = ["completion", "reference"]


class Clashes(Fine):
    values: ClassVar[Mapping[str, Value]] = {**Fine.values, "accuracy": Value(True, (0, 1))}


class Plots(Fine):
    series: ClassVar[Mapping[str, Series]] = {"progress": Series("row", "share")}

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        self.plot(context, self.shares(generations))
        return super().compute(generations, context)

    def plot(self, context: MetricContext, shares: list[float]) -> None:
        context.series("progress", range(len(shares)), sorted(shares))

    def shares(self, generations: pd.DataFrame) -> list[float]:
        self.check(generations, MetricContext())
        return super().shares(generations)


class NoLabel(Plots):
    series: ClassVar[Mapping[str, Series]] = {"progress": Series("row", "")}


class OtherCurve(Plots):
    def plot(self, context: MetricContext, shares: list[float]) -> None:
        context.series("progres", [0], [1])


class BrokenCurve(Plots):
    def plot(self, context: MetricContext, shares: list[float]) -> None:
        context.series("progress", [0], [math.nan])


class NoCurve(Plots):
    def plot(self, context: MetricContext, shares: list[float]) -> None:
        pass


class LooseCheck(Fine):
    """Checks only what the fault of a subclass leaves to be checked."""

    def check(self, generations: pd.DataFrame, context: MetricContext) -> None:
        Fine().check(generations, context)


class MisspeltColumn(LooseCheck):
    columns: ClassVar[tuple[str, ...]] = (*Fine.columns, "completions")


class UnknownNeed(LooseCheck):
    needs: ClassVar[frozenset[str]] = frozenset({"gpu"})


class HalfMinimum(LooseCheck):
    minimum_n: ClassVar[float] = 0.5


class Undeclared(Fine):
    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        return {**super().compute(generations, context), "surprise": 1.0}


class NotANumber(Fine):
    values: ClassVar[Mapping[str, Value]] = {**Fine.values, "letters_wrong": Value(None, (0, 1))}

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        return {**super().compute(generations, context), "letters_wrong": math.nan}


class OutOfRange(Fine):
    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        return 100 * super().score(generations, context)


class OtherHeadline(Fine):
    values: ClassVar[Mapping[str, Value]] = {**Fine.values, "letters_wrong": Value(None, (0, 1))}
    headline: ClassVar[tuple[str, ...]] = ("letters_wrong",)


class NegativeError(Fine):
    def mean(self, shares: Sequence[float]) -> float:
        return Estimate(super().mean(shares), -1)


class UpsideDown(Fine):
    values: ClassVar[Mapping[str, Value]] = {"letters_right": Value(False, (0, 1))}


class ByPlace(Fine):
    def mean(self, shares: Sequence[float]) -> float:
        return math.fsum(place * each for place, each in enumerate(shares, 1)) / sum(range(1, len(shares) + 1))


class ByLabel(Fine):
    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        return self.mean(self.shares(generations[~generations.index.duplicated()]))


class FromZero(Fine):
    def shares(self, generations: pd.DataFrame) -> list[float]:
        return [share(generations["completion"][0], generations["reference"][0]), *super().shares(generations)[1:]]


class Drops(Fine):
    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        kept = generations.dropna()
        if not len(kept):
            raise MetricError("no row is complete")
        return super().score(kept, context)


class ReadsPrompts(Fine):
    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        return super().score(generations, context) if generations["prompt"].map(len).sum() else 0.0


class WantsLists(Fine):
    columns: ClassVar[tuple[str, ...]] = (*Fine.columns, "completion_ids")

    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        written = sum(1 for ids in generations["completion_ids"] if ids)
        return super().score(generations, context) if written else 0.0


class RoundsInCache(Fine):
    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        exact = super().score(generations, context)
        return exact if context.cache is None else round(exact, 3)


class Unrepeatable(Fine):
    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        return super().score(generations, context) * (1 - next(calls) * 1e-14)


class UnsureOfItsError(Fine):
    def mean(self, shares: Sequence[float]) -> float:
        return Estimate(super().mean(shares), 0.1 + next(calls) * 1e-14)


class ReadsTheGenerator(Fine):
    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        return super().score(generations, context) * (1 - int(np.random.get_state()[1][5]) % 1000 * 1e-14)  # noqa: NPY002


class Draws(Fine):
    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        random.random()
        return super().score(generations, context)


class AddsAColumn(Fine):
    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        generations["right"] = self.shares(generations)
        return self.mean(generations["right"].tolist())


class TurnsLists(Fine):
    columns: ClassVar[tuple[str, ...]] = (*Fine.columns, "completion_ids")

    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        for ids in generations["completion_ids"]:
            if isinstance(ids, list):
                ids.reverse()
        return super().score(generations, context)


class SortsExamples(Fine):
    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        context.completions.sort()
        return super().score(generations, context)


class UsesPolicy(Fine):
    needs: ClassVar[frozenset[Need]] = frozenset({"policy"})

    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        self.use(context.policy.model)
        return super().score(generations, context)

    def use(self, model: object) -> None:
        pass


class LeavesTraining(UsesPolicy):
    def use(self, model: object) -> None:
        model.train()


class LeavesALayerTraining(UsesPolicy):
    def use(self, model: object) -> None:
        next(model.children()).train()


class MovesWeights(UsesPolicy):
    def use(self, model: object) -> None:
        next(model.parameters()).data += 1


class Freezes(UsesPolicy):
    def use(self, model: object) -> None:
        model.requires_grad_(False)


class LeavesGradients(UsesPolicy):
    def use(self, model: object) -> None:
        next(model.parameters()).sum().backward()


class MeasuresFew(LooseCheck):
    minimum_n: ClassVar[int] = 5


class SaysLittle(LooseCheck):
    minimum_n: ClassVar[int] = 5

    def check(self, generations: pd.DataFrame, context: MetricContext) -> None:
        if len(generations) < 5:
            raise MetricError("too few")
        super().check(generations, context)


class MissesColumns(Fine):
    def check(self, generations: pd.DataFrame, context: MetricContext) -> None:
        if {"completion", "reference"} <= {*generations.columns}:
            super().check(generations, context)


class MissesNeeds(LooseCheck):
    needs: ClassVar[frozenset[Need]] = frozenset({"judge"})

    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        context.judge([], "", True)
        return super().score(generations, context)


class TakesNoText(Fine):
    def check(self, generations: pd.DataFrame, context: MetricContext) -> None:
        LooseCheck.check(self, generations.astype(str) if len(generations.columns) > 1 else generations, context)

    def shares(self, generations: pd.DataFrame) -> list[float]:
        return super().shares(generations.astype(str))


class Crashes(Fine):
    def check(self, generations: pd.DataFrame, context: MetricContext) -> None:
        """Looks at one text only, so that others crash later."""
        super().check(generations.assign(**{name: "" for name in self.columns if name in generations}), context)


class DividesByRows(Fine):
    minimum_n: ClassVar[int] = 0


class DividesByLetters(Fine):
    def shares(self, generations: pd.DataFrame) -> list[float]:
        lengths = [1 / len(text) for text in generations["completion"]]
        return [each for each, _ in zip(super().shares(generations), lengths, strict=True)]


class AsciiOnly(Fine):
    def shares(self, generations: pd.DataFrame) -> list[float]:
        generations["completion"].map(lambda text: text.encode("ascii"))
        return super().shares(generations)


class Recurses(Fine):
    def shares(self, generations: pd.DataFrame) -> list[float]:
        def length(text: str) -> int:
            return 1 + length(text[1:]) if text else 0

        generations["completion"].map(length)
        return super().shares(generations)


class Thaws(Fine):
    __setattr__ = object.__setattr__


@dataclass(frozen=True, kw_only=True)
class Undocumented(Fine):
    """A word on letters, and none on settings."""

    mystery: int = 8


@dataclass(frozen=True, kw_only=True)
class Drifts(Fine):
    """More every time."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "power", self.power + 1)


class NoPickleAfterUse(Fine):
    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        self.__dict__["key"] = lambda text: text
        return super().score(generations, context)


class WantsPrompts(Fine):
    columns: ClassVar[tuple[str, ...]] = (*Fine.columns, "prompt")

    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        if not any(generations["prompt"]):
            raise MetricError("the prompts are empty")
        return super().score(generations, context)
