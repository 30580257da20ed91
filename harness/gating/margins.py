"""Margins of a gate: how much worse a number may be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.errors import RequestError


@dataclass(frozen=True)
class Margin:
    """The largest loss that is accepted.

    Attributes:
        amount: in the unit of the metric, or a share of the baseline; above 0.
        relative: whether it is a share of the baseline.
    """

    amount: float
    relative: bool = False

    def __str__(self) -> str:
        return f"{100 * self.amount:g}%" if self.relative else f"{self.amount:g}"

    @classmethod
    def parse(cls, metric: str, value: object) -> Margin:
        """Make a margin of a number, or of a text such as ``0.02`` or ``5%``.

        Raises:
            RequestError: if it is neither, or not above 0.
        """
        text = str(value).strip()
        relative = text.endswith("%")
        try:
            amount = float(text.removesuffix("%"))
        except ValueError:
            amount = math.nan
        if not 0 < amount < math.inf:
            raise RequestError(
                f"margin of {metric!r}: must be a number above 0, such as 0.02, or a share of the baseline, such as "
                f"5%, got {value!r}" + (": no finite number of seeds shows that two are equal" if amount == 0 else "")
            )
        return cls(amount / 100 if relative else amount, relative)


def parse_margins(margins: Mapping[str, object]) -> dict[str, Margin]:
    """Margins by metric, see ``Margin.parse``.

    Raises:
        RequestError: if one is no margin.
    """
    return {
        metric: value if isinstance(value, Margin) else Margin.parse(metric, value) for metric, value in margins.items()
    }


def split_margins(words: Iterable[str]) -> dict[str, str]:
    """Split ``metric=value`` at the last ``=``.

    Raises:
        RequestError: if there is none, or a metric comes twice.
    """
    margins: dict[str, str] = {}
    for word in words:
        metric, equals, value = word.rpartition("=")
        if not equals or not metric:
            raise RequestError(f"--margin {word}: must look like metric=0.02 or metric=5%")
        if metric in margins:
            raise RequestError(f"--margin {word}: {metric!r} has the margin {margins[metric]} already")
        margins[metric] = value
    return margins
