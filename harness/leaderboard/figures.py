"""Plots as SVG to be put into a page, coloured by the page's style sheet.

Texts stay texts. Every colour, width and dash is a class, so that a plot follows the page into dark mode and onto
paper, and there is no id and no inline style, so that many plots share a page that forbids inline styles. They are
written here because a page has dozens, and a plotting library takes longer over them than the rest of the page.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from markupsafe import Markup
from matplotlib.ticker import EngFormatter

from harness.leaderboard.charts import Chart, Line
from harness.leaderboard.numbers import number
from harness.leaderboard.scales import Scale

COLORS = 8
DASHES = 4
_WIDTH, _HEIGHT = 280.8, 180.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 33.6, 275.1, 5.4, 149.4
_POINT = tuple[float, float]
_SHELL = Markup(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{y} against {x}">'
    "{content}</svg>"
)
_GROUP = Markup('<g class="{name}">{title}<path d="{path}"/></g>')
_TITLE = Markup("<title>{label}: {end} at the end</title>")
_TEXT = Markup('<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>')


def svg(chart: Chart) -> Markup:
    """Draw a plot.

    Classes: ``line`` and ``band``, each with ``cN`` (colour) and ``dN`` (dash); ``point``, a line of one; ``grid``.
    """
    lines = chart.lines
    x = Scale.over((value for line in lines for value in line.x), _LEFT, _RIGHT)
    values = (value for line in lines for each in (line.y, line.low, line.high) for value in each or ())
    y = Scale.over(values, _BOTTOM, _TOP, chart.logarithmic)
    parts = [*_grid(chart, x, y), *(_band(line, x, y) for line in lines), *(_line(line, x, y) for line in lines)]
    return _SHELL.format(width=_WIDTH, height=f"{_HEIGHT:g}", x=chart.x, y=chart.y, content=Markup("").join(parts))


def classes(color: int, dash: int) -> str:
    """The classes of a curve."""
    return f"c{color % COLORS} d{(dash + color // COLORS) % DASHES}"


def _grid(chart: Chart, x: Scale, y: Scale) -> Iterator[Markup]:
    whole = all(value == round(value) for line in chart.lines for value in line.x)
    written = EngFormatter(sep="").format_eng if chart.axis else "{:.4g}".format
    for tick in x.ticks(whole):
        yield _path("grid", [[(x(tick), _BOTTOM), (x(tick), _TOP)]])
        yield _TEXT.format(x=x(tick), y=_BOTTOM + 11, anchor="middle", text=written(tick))
    for tick in y.ticks():
        yield _path("grid", [[(_LEFT, y(tick)), (_RIGHT, y(tick))]])
        yield _TEXT.format(x=_LEFT - 3.5, y=y(tick) + 3, anchor="end", text=f"{tick:.4g}")
    yield _TEXT.format(x=(_LEFT + _RIGHT) / 2, y=_BOTTOM + 25, anchor="middle", text=chart.x)


def _band(line: Line, x: Scale, y: Scale) -> Markup:
    if line.low is None or line.high is None:
        return Markup("")
    pieces = []
    for known in _known(zip(line.x, line.low, line.high, strict=True)):
        low, high = ([(x(at), y(edges[side])) for at, *edges in known] for side in (0, 1))
        pieces.append([*low, *reversed(high), low[0]])
    return _path(f"band {classes(line.color, line.dash)}", pieces)


def _line(line: Line, x: Scale, y: Scale) -> Markup:
    pieces = [[(x(at), y(value)) for at, value in known] for known in _known(zip(line.x, line.y, strict=True))]
    pieces = [piece * 2 if len(piece) == 1 else piece for piece in pieces]
    kind = "line point" if len(line.x) == 1 else "line"  # without length, which the style sheet draws as a dot
    title = _TITLE.format(label=line.label, end=number(line.y[-1] if line.y else math.nan))
    return _path(f"{kind} {classes(line.color, line.dash)}", pieces, title)


def _known(points: Iterable[Sequence[float]]) -> Iterator[list[Sequence[float]]]:
    """Runs of points all of whose numbers are finite."""
    for known, run in groupby(points, key=lambda point: all(map(math.isfinite, point))):
        if known:
            yield list(run)


def _path(name: str, pieces: Iterable[Sequence[_POINT]], title: Markup | str = "") -> Markup:
    path = "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in piece) for piece in pieces)
    return _GROUP.format(name=name, title=title, path=path)
