"""How a number is written in every table."""

from __future__ import annotations

import math

ARROWS = {True: "↑", False: "↓"}
"""Where a number is better."""


def number(value: float) -> str:
    """Three significant digits or more, without an exponent where that is readable; "?" where it is not known."""
    if math.isnan(value):
        return "?"
    size = abs(value)
    if 0 < size < 0.1:
        return f"{value:#.3g}"
    places = next((places for limit, places in ((10, 3), (100, 2), (1000, 1)) if size < limit), None)
    return f"{value:.4g}" if places is None else f"{value:.{places}f}"


def short(value: float) -> str:
    """Two significant digits, for an error beside its number; "?" where it is not known."""
    if math.isnan(value):
        return "?"
    if value == 0:
        return "0"
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:#.2g}"
