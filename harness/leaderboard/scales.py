"""From values to places on a plot: linear and logarithmic scales, and where they have ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

_MARGIN = 0.05
_TICKS = 5


@dataclass(frozen=True)
class Scale:
    """Where values are drawn.

    Attributes:
        low, high: the least and the greatest value that is drawn, low below high.
        start, end: their places.
        logarithmic: whether factors are as long as each other, and not differences.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    @classmethod
    def over(cls, values: Iterable[float], start: float, end: float, logarithmic: bool = False) -> Scale:
        """A scale that shows some values, those that are finite, with a margin around them."""
        known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(known), max(known)
        if logarithmic:
            factor = (high / low) ** _MARGIN
            return cls(low / factor, high * factor, start, end, logarithmic=True)
        margin = _MARGIN * ((high - low) or abs(high) or 1.0)
        return cls(low - margin, high + margin, start, end)

    def __call__(self, value: float) -> float:
        """The place of a value."""
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, whole: bool = False) -> list[float]:
        """A handful of round values, or powers of ten; ``whole``: whole numbers only."""
        if self.logarithmic:
            decades = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            return [10.0**decade for decade in decades[:: math.ceil(len(decades) / (_TICKS + 1))]]
        found = map(float, MaxNLocator(_TICKS, integer=whole).tick_values(self.low, self.high))
        return [tick for tick in found if self.low <= tick <= self.high]
