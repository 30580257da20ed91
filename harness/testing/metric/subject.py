"""A metric with what is needed to try it out: generations, and a context that has all it may need."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from harness.testing.battery import require
from harness.testing.metric.world import World, language_world, words_world
from harness.testing.subjects import Plugin, metric_of
from harness.trial import canonical
from metrics.base import Metric, MetricContext, MetricError

if TYPE_CHECKING:
    import pandas as pd

ROWS = 24
"""Generations, where the metric does not ask for more."""
CLOSE = 1e-9


@dataclass
class MetricSubject:
    """A metric to be checked.

    Attributes:
        plugin: where it comes from, and its settings.
    """

    plugin: Plugin[Metric]

    @cached_property
    def world(self) -> World:
        """Where it measures: a finite language if it needs one, and words to be copied if not."""
        n = max(ROWS, self.plugin.cls.minimum_n)
        return language_world(n) if "language" in self.plugin.cls.needs else words_world(n)

    def metric(self, **settings: Any) -> Metric:
        """A new metric, with further settings."""
        return self.plugin.create(**settings)

    def generations(self) -> pd.DataFrame:
        """The ordinary generations, a copy."""
        table = self.world.table.copy()
        for column in ("completion_ids", "actions", "action_texts"):
            table[column] = [copy.copy(each) for each in table[column]]
        return table

    def context(self, **changes: Any) -> MetricContext:
        """A context that has all the metric needs, with a policy of its own."""
        return self.world.context(**changes)

    def compute(
        self,
        generations: pd.DataFrame | None = None,
        context: MetricContext | None = None,
        metric: Metric | None = None,
    ) -> dict[str, float]:
        """What a metric reports; if not given, it is a new one, of ordinary generations in a context of their own."""
        return (metric or self.metric()).compute(
            self.generations() if generations is None else generations, context or self.context()
        )

    @property
    def ordinary(self) -> dict[str, float]:
        """What the metric reports of the ordinary generations."""
        return dict(_ordinary(self.plugin.address, self.plugin.entry.version, canonical(self.plugin.settings)))

    def refusal(self, generations: pd.DataFrame | None = None, context: MetricContext | None = None) -> str | None:
        """The message of the MetricError that the metric raises; None: it raises none."""
        try:
            self.compute(generations, context)
        except MetricError as error:
            return str(error)
        return None

    def require_sound(self, numbers: Mapping[str, float], whose: str) -> None:
        """Raise CheckError unless numbers are declared, finite and within their ranges."""
        declared = self.plugin.cls.values  # noqa: PD011
        for name, number in numbers.items():
            require(name in declared, f"it reports {name!r} of {whose}, which it does not declare in its values")
            require(
                isinstance(number, int | float) and math.isfinite(number),
                f"{name} of {whose} is {number!r}: leave out what is undefined, and report finite floats",
            )
            low, high = declared[name].range
            require(
                low <= number <= high, f"{name} of {whose} is {float(number)}, out of its range from {low} to {high}"
            )


def differences(first: Mapping[str, float], second: Mapping[str, float], tolerance: float = CLOSE) -> str:
    """In which numbers, or sample errors, two reports differ by more than rounding; empty: in none."""
    found = []
    for name in dict.fromkeys([*first, *second]):
        one, other = first.get(name), second.get(name)
        if one is None or other is None or not _close(one, other, tolerance):
            found.append(f"{name} {_plain(one)} and {_plain(other)}")
        elif not _close(error := standard_error(one), again := standard_error(other), tolerance):
            found.append(f"the standard_error of {name} {error} and {again}")
    return ", ".join(found)


def standard_error(number: float) -> float:
    """The sample error of a number, NaN where it has none."""
    return float(getattr(number, "standard_error", math.nan))


def _plain(number: float | None) -> str:
    return "absent" if number is None else repr(float(number))


def _close(one: float, other: float, tolerance: float) -> bool:
    return (math.isnan(one) and math.isnan(other)) or math.isclose(
        one, other, rel_tol=tolerance, abs_tol=tolerance / 1e3
    )


@lru_cache(maxsize=2)
def _ordinary(address: str, version: str, settings: str) -> dict[str, float]:
    """What a metric reports of the ordinary generations, once per process: a feature model takes seconds."""
    del version  # a file that was changed is another metric
    return MetricSubject(metric_of(address, json.loads(settings))).compute()
