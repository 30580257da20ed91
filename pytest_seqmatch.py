"""The pytest plug-in of seqmatch: the fixture ``seqmatch_gate``.

pytest imports it at every start, in whatever project is tested in the environment. It therefore lies beside the
packages of seqmatch and imports none of them before the fixture is called: a project with a package ``tasks`` or
``harness`` of its own could not run its tests otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    import pandas as pd

    from harness.gate import GateReport
    from harness.gating.margins import Margin


@pytest.fixture(scope="session")
def seqmatch_gate() -> Callable[..., GateReport]:
    """Hold results of a candidate against a baseline: ``seqmatch_gate(candidate, baseline, {"accuracy": 0.02})``."""
    return _gate


def _gate(
    candidate: str | Path | pd.DataFrame,
    baseline: str | Path | pd.DataFrame,
    margins: Mapping[str, float | str | Margin],
    *,
    on_inconclusive: Literal["fail", "skip", "pass"] = "fail",
    **options: Any,
) -> GateReport:
    """Fail the test if a candidate has regressed; the table is the message.

    Args:
        candidate: see ``harness.gate.gate``.
        baseline: likewise.
        margins: likewise.
        on_inconclusive: what becomes of the test if the numbers prove neither. It fails by default, because a test
            that passes says that the candidate is good, and that has not been shown.
        options: the other arguments of ``harness.gate.gate``.

    Raises:
        HarnessError: if the two cannot be compared as asked.
    """
    __tracebackhide__ = True
    from harness.errors import RequestError, suggestion
    from harness.gate import gate
    from harness.gating.tables import as_lines

    if on_inconclusive not in ("fail", "skip", "pass"):
        hint = suggestion(str(on_inconclusive), ("fail", "skip", "pass"))
        raise RequestError(f"on_inconclusive={on_inconclusive!r} is unknown{hint}")
    report = gate(candidate, baseline, margins, **options)
    if report.verdict == "regressed" or (report.verdict == "inconclusive" and on_inconclusive == "fail"):
        pytest.fail(as_lines(report), pytrace=False)
    if report.verdict == "inconclusive" and on_inconclusive == "skip":
        # No silenced test: its author asked for this, a regression still fails, and the reason shows every number.
        pytest.skip(as_lines(report))
    return report
