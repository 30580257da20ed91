"""What the checks found of one plug-in: as a table, as JSON, as an exit code."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from harness.testing.battery import Tier


class Status(enum.StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


_STYLES = {Status.PASSED: "green", Status.FAILED: "bold red", Status.SKIPPED: "dim"}


@dataclass(frozen=True)
class Outcome:
    """How one check ended.

    Attributes:
        check: its name.
        promise: what must hold.
        status: passed, failed or skipped.
        reason: what was seen, or why it does not apply; empty where it passed.
        seconds: wall-clock seconds it took.
    """

    check: str
    promise: str
    status: Status
    reason: str
    seconds: float


@dataclass(frozen=True)
class Report:
    """What the checks found.

    Attributes:
        kind: "trainer", "task" or "metric".
        subject: name of the plug-in, as given.
        origin: distribution and version that provide it.
        settings: those that were overridden.
        tier: how much was checked.
        minimum: fewest checks that had to run.
        outcomes: in order.
    """

    kind: str
    subject: str
    origin: str
    settings: Mapping[str, Any]
    tier: Tier
    minimum: int
    outcomes: tuple[Outcome, ...]

    def count(self, status: Status) -> int:
        """Number of checks that ended so."""
        return Counter(outcome.status for outcome in self.outcomes)[status]

    @property
    def ran(self) -> int:
        """Number of checks that were not skipped."""
        return len(self.outcomes) - self.count(Status.SKIPPED)

    @property
    def enough(self) -> bool:
        """Whether as many checks ran as the tier asks for."""
        return self.ran >= self.minimum

    @property
    def passed(self) -> bool:
        """Whether enough checks ran, and none failed."""
        return self.enough and not self.count(Status.FAILED)

    @property
    def summary(self) -> str:
        """One line."""
        counts = ", ".join(f"{self.count(status)} {status}" for status in Status)
        few = "" if self.enough else f"; too few ran, tier {self.tier} asks for {self.minimum}"
        verdict = "conforms" if self.passed else "does not conform"
        return f"{self.kind} {self.subject!r} of {self.origin} {verdict}: {self.ran} run, {counts}{few}"

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON data, the counts and the verdict too."""
        counts = {str(status): self.count(status) for status in Status}
        return {**asdict(self), "ran": self.ran, **counts, "conforms": self.passed}

    def layout(self) -> Table:
        """A row per check; what was seen stands in the place of the promise where it does not hold."""
        table = Table("check", "status", "what must hold, or what was seen")
        for outcome in self.outcomes:
            status = Text(outcome.status, style=_STYLES[outcome.status])
            table.add_row(outcome.check, status, Text(outcome.reason or outcome.promise))
        return table
