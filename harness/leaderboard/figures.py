"""Plots as SVG to be put into a page: drawn by matplotlib, coloured by the page's style sheet.

Texts stay texts. Every colour, width and dash is a class, so that a plot follows the page into dark mode and onto
paper, and no id or inline style is left, so that many plots share a page that forbids inline styles.
"""

from __future__ import annotations

import io
import math
import re
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, NullLocator, StrMethodFormatter

from harness.leaderboard.charts import Chart, Line
from harness.leaderboard.numbers import number

COLORS = 8
DASHES = 4
_SIZE = (3.9, 2.5)
_PLACE = (0.12, 0.17, 0.86, 0.8)
_LABEL = (0.5, -0.12)
_SVG = "{http://www.w3.org/2000/svg}"
_ANCHOR = re.compile(r"text-anchor: (\w+)")
_DECIMALS = re.compile(r"(\.\d)\d+")
_SPACES = re.compile(r" ?([A-Za-z]) ?")


def svg(chart: Chart) -> Markup:
    """Draw a plot.

    Classes: ``line`` and ``band``, each with ``cN`` (colour) and ``dN`` (dash); ``point``, a line of one; ``grid``.
    """
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "seqmatch", "text.parse_math": False}):
        figure = Figure(figsize=_SIZE)
        axes = figure.add_axes(_PLACE)
        for line in chart.lines:
            _draw(axes, line)
        _scale(axes, chart)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return _restyled(drawn.getvalue(), chart)


def classes(color: int, dash: int) -> str:
    """The classes of a curve."""
    return f"c{color % COLORS} d{(dash + color // COLORS) % DASHES}"


def _draw(axes: Axes, line: Line) -> None:
    name = classes(line.color, line.dash)
    if line.low is not None and line.high is not None:
        axes.fill_between(line.x, line.low, line.high, gid=f"band {name}", clip_on=False)
    lone = len(line.x) == 1  # a line without length, which the style sheet draws as a dot
    kind, times = ("line point", 2) if lone else ("line", 1)
    axes.plot(line.x * times, line.y * times, gid=f"{kind} {name}|{line.label}", clip_on=False)


def _scale(axes: Axes, chart: Chart) -> None:
    axes.set_xlabel(chart.x)
    axes.xaxis.set_label_coords(*_LABEL)  # a fixed place spares matplotlib laying out every tick label twice
    axes.yaxis.set_label_coords(*_LABEL)
    if chart.logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=_whole(chart)))
    axes.xaxis.set_major_formatter(EngFormatter(sep="") if chart.axis else StrMethodFormatter("{x:.4g}"))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.4g}"))
    axes.tick_params(which="both", length=0)
    axes.grid(True)
    axes.spines[:].set_visible(False)


def _whole(chart: Chart) -> bool:
    """Whether x counts something."""
    return all(value == round(value) for line in chart.lines for value in line.x)


def _restyled(drawn: str, chart: Chart) -> Markup:
    root = ElementTree.fromstring(drawn)
    for parent in reversed(list(root.iter())):
        for child in list(parent):
            dropped = child.tag in (f"{_SVG}defs", f"{_SVG}metadata", f"{_SVG}use") or child.get("id") == "patch_1"
            if dropped or (child.tag == f"{_SVG}g" and not len(child)):
                parent.remove(child)
    for element in root.iter():
        name, _, label = element.attrib.pop("id", "").partition("|")
        if name.startswith(("line ", "band ")):
            element.set("class", name)
            if label:
                title = ElementTree.Element(f"{_SVG}title")
                title.text = f"{label}: {_last(chart, label)}"
                element.insert(0, title)
        elif name.startswith("line2d"):
            element.set("class", "grid")
        style = element.attrib.pop("style", "")
        if anchor := _ANCHOR.search(style):
            element.set("text-anchor", anchor[1])
        for attribute in ("d", "x", "y", "transform", "viewBox"):
            if attribute in element.attrib:
                element.set(attribute, _DECIMALS.sub(r"\1", " ".join(element.attrib[attribute].split())))
        if "d" in element.attrib:
            element.set("d", _SPACES.sub(r"\1", element.attrib["d"]))
        if element.get("transform", "").startswith("rotate(-0 "):
            del element.attrib["transform"]
        element.attrib.pop("clip-path", None)
        if element.text is not None and not element.text.strip():
            element.text = None
        element.tail = None
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-label", f"{chart.y} against {chart.x}")
    ElementTree.register_namespace("", _SVG[1:-1])
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _last(chart: Chart, label: str) -> str:
    """Where a curve ends, in words."""
    ends = [line.y[-1] for line in chart.lines if line.label == label and line.y]
    return f"{number(sum(ends) / len(ends) if ends else math.nan)} at the end"
