"""A metric that measures several systems together, and one for each way to do it wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import pandas as pd

from metrics.base import KnownAnswer, MetricContext, Value
from metrics.joint import Difference, JointMetric, JointResult


def share(completion: str, reference: str) -> float:
    same = sum(one == other for one, other in zip(completion, reference, strict=False))
    return same / max(len(completion), len(reference), 1)


@dataclass(frozen=True, kw_only=True)
class Joint(JointMetric):
    """Share of letters that are right, of several systems; the test is a toy.

    Attributes:
        power: to which shares are raised.
    """

    columns: ClassVar[tuple[str, ...]] = ("completion", "reference")
    values: ClassVar[Mapping[str, Value]] = {"letters_shared": Value(True, (0, 1))}
    power: float = 1.0

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        self.check(generations, context)
        pairs = list(zip(generations["completion"], generations["reference"], strict=True))
        shares = [share(completion, reference) ** self.power for completion, reference in pairs]
        return {"letters_shared": math.fsum(shares) / len(shares)}

    def compute_jointly(self, systems: Mapping[str, pd.DataFrame], context: MetricContext) -> JointResult:
        self.check_systems(systems, context)
        numbers = {name: self.compute(table, context) for name, table in systems.items()}
        return JointResult(numbers, tuple(self.tested(numbers, *pair) for pair in self.pairs(systems)))

    def pairs(self, systems: Mapping[str, pd.DataFrame]) -> list[tuple[str, str]]:
        return list(combinations(systems, 2))

    def tested(self, numbers: Mapping[str, Mapping[str, float]], first: str, second: str) -> Difference:
        gain = numbers[first]["letters_shared"] - numbers[second]["letters_shared"]
        return Difference("letters_shared", first, second, gain, self.p_value(gain))

    def p_value(self, gain: float) -> float:
        return 1.0 if gain == 0 else 1 / (self.permutations + 1)

    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        return [KnownAnswer("three of four letters", share("abcd", "abxd"), 0.75)]


class BothWays(Joint):
    def pairs(self, systems: Mapping[str, pd.DataFrame]) -> list[tuple[str, str]]:
        return [(one, other) for one in systems for other in systems if one != other]


class SureOfAll(Joint):
    def p_value(self, gain: float) -> float:
        return 1.0 if gain == 0 else 0.0


class Reversed(Joint):
    def tested(self, numbers: Mapping[str, Mapping[str, float]], first: str, second: str) -> Difference:
        return Difference("letters_shared", first, second, super().tested(numbers, second, first).difference, 1.0)

    def p_value(self, gain: float) -> float:
        return 1.0


class SeesGhosts(Joint):
    def p_value(self, gain: float) -> float:
        return 0.01


class AnyRows(Joint):
    def check_systems(self, systems: Mapping[str, pd.DataFrame], context: MetricContext) -> None:
        pass
