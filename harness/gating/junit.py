"""What a gate found as JUnit XML, which CI systems show as tests.

It satisfies the schemas of Ant and of Jenkins, which between them ask for every element and attribute here.
A number is a test case. One that is regressed has a ``failure``; one that is inconclusive an ``error``, since a test
that cannot be decided has not passed, and most systems show a skipped one as passed.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harness.gating.noninferiority import Verdict
from harness.gating.tables import cells_of, details, headings, place, rows_of

if TYPE_CHECKING:
    from harness.gate import GateReport

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped (section 2.2)."""
OUTCOMES = {Verdict.REGRESSED: "failure", Verdict.INCONCLUSIVE: "error"}


def junit(report: GateReport) -> bytes:
    """The report as a document in UTF-8 with one suite."""
    rows = rows_of(report)
    counts = {outcome: sum(OUTCOMES.get(row["verdict"]) == outcome for row in rows) for outcome in OUTCOMES.values()}
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    root = _element(None, "testsuites", {})
    attributes = {
        "name": "seqmatch gate",
        "package": "seqmatch",
        "id": 0,
        "timestamp": stamp,
        "hostname": "localhost",
        "tests": len(rows),
        "failures": counts["failure"],
        "errors": counts["error"],
        "skipped": 0,
        "time": 0,
    }
    suite = _element(root, "testsuite", attributes)
    _element(suite, "properties", {})
    for row in rows:
        _case(suite, row, report)
    _element(suite, "system-out", {}, "\n".join([report.summary, *details(report)]))
    _element(suite, "system-err", {}, "")
    ET.indent(root)
    document = io.BytesIO()
    ET.ElementTree(root).write(document, encoding="utf-8", xml_declaration=True)
    return document.getvalue()


def _case(suite: ET.Element, row: dict[str, Any], report: GateReport) -> None:
    classname = ".".join(["seqmatch", *(row[name] for name in ("task", "trainer", "decoder"))])
    case = _element(suite, "testcase", {"classname": classname, "name": row["metric"], "time": 0})
    numbers = ", ".join(f"{name} {cell}" for name, cell in zip(headings(report), cells_of(row), strict=True))
    pairs = f"paired seeds {row['paired'] or 'none'}" + (f"; {row['missing']}" if row["missing"] else "")
    if row["verdict"] in OUTCOMES:
        message = f"{place(row)}: {row['verdict']}" + (f": {row['reason']}" if row["reason"] else "")
        attributes = {"message": message, "type": row["verdict"]}
        _element(case, OUTCOMES[row["verdict"]], attributes, f"{numbers}\n{pairs}")


def _element(parent: ET.Element | None, tag: str, attributes: Mapping[str, object], text: str = "") -> ET.Element:
    legal = {name: _ILLEGAL.sub("\ufffd", str(value)) for name, value in attributes.items()}
    element = ET.Element(tag, legal) if parent is None else ET.SubElement(parent, tag, legal)
    element.text = _ILLEGAL.sub("\ufffd", text) or None
    return element
