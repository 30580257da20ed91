"""Plots of the page: where values are drawn, and what of them."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.leaderboard.charts import Chart, Line
from harness.leaderboard.figures import svg
from harness.leaderboard.scales import Scale

NUMBERS = st.floats(-1e12, 1e12, allow_subnormal=False)
SIZES = st.floats(1e-12, 1e12)


def paths(chart: Chart) -> dict[str, list[list[tuple[float, float]]]]:
    """By class, the pieces of every path."""
    found = dict[str, list[list[tuple[float, float]]]]()
    for group in ElementTree.fromstring(svg(chart)).iter("{http://www.w3.org/2000/svg}g"):
        (path,) = group.findall("{http://www.w3.org/2000/svg}path")
        pieces = path.attrib["d"].split("M")[1:]
        points = [[(float(x), float(y)) for x, y in map(str.split, piece.split("L"))] for piece in pieces]
        found.setdefault(group.attrib["class"], []).extend(points)
    return found


def chart(*lines: Line) -> Chart:
    return Chart("t", "x", "y", lines)


@given(st.lists(NUMBERS, min_size=1))
def test_a_scale_keeps_order_and_all_values_inside(values: list[float]) -> None:
    scale = Scale.over(values, 10.0, 90.0)
    places = [scale(value) for value in sorted(values)]
    assert all(10.0 <= place <= 90.0 for place in places)
    assert all(one <= other + 1e-9 for one, other in pairwise(places))


@given(st.lists(SIZES, min_size=2, unique=True))
def test_on_a_logarithmic_scale_equal_factors_are_equally_long(values: list[float]) -> None:
    scale = Scale.over(values, 0.0, 100.0, logarithmic=True)
    low, high = min(values), max(values)
    middle = math.sqrt(low) * math.sqrt(high)
    assert scale(middle) == pytest.approx((scale(low) + scale(high)) / 2, abs=1e-6)
    assert 0 <= scale(low) < scale(high) <= 100


@given(st.lists(NUMBERS, min_size=1))
def test_ticks_are_few_and_inside(values: list[float]) -> None:
    scale = Scale.over(values, 0.0, 1.0)
    ticks = scale.ticks()
    assert len(ticks) <= 7
    assert all(scale.low <= tick <= scale.high for tick in ticks)


def test_ticks_are_round() -> None:
    assert Scale.over([0.0, 700.0], 0.0, 1.0).ticks() == [0, 200, 400, 600]
    assert Scale.over([0.0, 2.0], 0.0, 1.0).ticks(whole=True) == [0, 1, 2]
    assert Scale.over([1e-3, 1e3], 0.0, 1.0, logarithmic=True).ticks() == [1e-3, 1e-1, 10, 1e3]
    assert Scale.over([], 0.0, 1.0).ticks() == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_a_line_goes_through_its_points_and_stops_where_there_is_none() -> None:
    drawn = paths(chart(Line("a", 2, 1, (0.0, 1.0, 2.0, 3.0, 4.0), (1.0, 2.0, math.nan, 2.0, math.inf))))
    first, second = drawn["line c2 d1"]
    assert [len(first), len(second)] == [2, 2]
    assert second[0] == second[1], "a point without neighbours has no length, and is drawn"
    (left, low), (right, high) = first
    assert left < right < second[0][0]
    assert low > high == second[0][1], "y grows downwards"


def test_a_band_goes_along_the_greatest_and_back_along_the_least_values() -> None:
    (piece,) = paths(chart(Line("a", 0, 0, (0.0, 1.0), (2.0, 3.0), (1.0, 2.0), (3.0, 4.0))))["band c0 d0"]
    assert piece[0] == piece[-1]
    assert [x for x, _ in piece[:4]] == [piece[0][0], piece[1][0], piece[1][0], piece[0][0]]
    assert piece[0][1] > piece[3][1]
    assert piece[1][1] > piece[2][1]
    assert "band c0 d0" in svg(chart(Line("a", 0, 0, (0.0,), (2.0,), (1.0,), (3.0,))))


def test_clocks_are_written_with_prefixes_and_other_numbers_plainly() -> None:
    line = Line("a", 0, 0, (0.0, 2e6), (0.0, 1.0))
    texts = re.findall(r"<text [^>]*>([^<]*)<", svg(Chart("t", "tokens", "y", (line,), "tokens")))
    assert "1M" in texts
    assert "1e+06" in re.findall(r"<text [^>]*>([^<]*)<", svg(chart(line)))


def test_a_chart_without_a_value_is_drawn_empty() -> None:
    empty = svg(chart(Line("a", 0, 0, (0.0, 1.0), (math.nan, math.nan))))
    assert "nan" not in empty
    assert "?" in empty
