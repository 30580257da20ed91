"""Exact match of completions and references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from metrics.base import KnownAnswer, Metric, MetricContext, Value
from metrics.sample_error import mean


@dataclass(frozen=True, kw_only=True)
class Accuracy(Metric):
    """Share of completions that equal their reference but for white space at both ends."""

    columns: ClassVar[tuple[str, ...]] = ("completion", "reference")
    values: ClassVar[Mapping[str, Value]] = {"accuracy": Value(higher_is_better=True, range=(0, 1))}

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        self.check(generations, context)
        pairs = zip(generations["completion"], generations["reference"], strict=True)
        return {"accuracy": mean([written.strip() == wanted.strip() for written, wanted in pairs])}

    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        table = pd.DataFrame({"completion": ["12", " 12\n", "-3", ""], "reference": ["12", "12", "3", "0"]})
        return [KnownAnswer("two of four answers", cls().compute(table, MetricContext())["accuracy"], 0.5)]
