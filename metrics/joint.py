"""What a metric is that can compare systems with each other, beside measuring each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metrics.base import Metric, MetricContext, MetricError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Difference:
    """By how much two systems differ in one number, and whether that is more than noise of sampling.

    Attributes:
        metric: name of the number.
        first, second: names of the systems.
        difference: the number of the first less that of the second.
        p_value: of a two-sided test, in (0, 1], not adjusted for other pairs.
    """

    metric: str
    first: str
    second: str
    difference: float
    p_value: float


@dataclass(frozen=True)
class JointResult:
    """What a joint measurement gives.

    Attributes:
        numbers: by system, numbers by name, as ``Metric.compute`` returns them.
        differences: every pair of systems once, in the order of the systems.
    """

    numbers: Mapping[str, dict[str, float]]
    differences: tuple[Difference, ...]


@dataclass(frozen=True, kw_only=True)
class JointMetric(Metric):
    """A metric that measures several systems together, so that its numbers compare, and tests their differences.

    The tests are over samples of one trained policy. Whether a trainer is better is a question over training seeds.

    Attributes:
        permutations: random permutations of a test; no p-value is below ``1 / (permutations + 1)``.
    """

    permutations: int = 999

    def __post_init__(self) -> None:
        if self.permutations < 1:
            raise MetricError(f"{type(self).__name__}: permutations must be at least 1, got {self.permutations}")

    @abstractmethod
    def compute_jointly(self, systems: Mapping[str, pd.DataFrame], context: MetricContext) -> JointResult:
        """Measure systems together.

        Args:
            systems: by name, tables of generations. Row i of all of them answers the same prompt and has the same
                reference.
            context: of the task; it has no policy and no decoder, in which systems differ.

        Raises:
            MetricError: as ``compute``, and if systems cannot be compared.
        """

    def why_alone(self) -> str | None:
        """Why systems cannot be compared under these settings, and what to change; None: they can."""
        return None

    def check_systems(self, systems: Mapping[str, pd.DataFrame], context: MetricContext) -> None:
        """Raise MetricError unless every system can be measured, and they can be compared row by row."""
        if not systems:
            raise MetricError(f"{type(self).__name__} needs at least one system")
        for name, generations in systems.items():
            try:
                self.check(generations, context)
            except MetricError as error:
                raise MetricError(f"system {name!r}: {error}") from error
        if len(systems) == 1:
            return
        if reason := self.why_alone():
            raise MetricError(reason)
        (first, expected), *others = systems.items()
        for name, generations in others:
            _check_rows(first, expected, name, generations)


def _check_rows(first: str, expected: pd.DataFrame, name: str, generations: pd.DataFrame) -> None:
    pair = f"systems {first!r} and {name!r}"
    if len(expected) != len(generations):
        raise MetricError(f"{pair} have {len(expected)} and {len(generations)} rows: give as many of each")
    for column in ("prompt", "reference"):
        for system, table in ((first, expected), (name, generations)):
            if column not in table.columns:
                raise MetricError(f"system {system!r}: the column {column!r} is missing, by which systems are compared")
        for row, (one, other) in enumerate(zip(expected[column], generations[column], strict=True)):
            if one != other:
                raise MetricError(
                    f"{pair} are compared row by row, but in row {row} one has the {column} {one!r} and the other "
                    f"{other!r}: give both for the same test examples in the same order"
                )
