"""The conformance checks as pytest classes: derive one, name the plug-in, and every check is a test.

from harness.testing import TrainerTests

class TestMine(TrainerTests):
    subject = "mine"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from harness.testing.battery import Check, Tier
from harness.testing.report import Outcome, Report, Status
from harness.testing.running import run_check
from harness.testing.subjects import Kind, Plugin, kind_of


class PluginTests:
    """One test per check, and one that counts what ran.

    Attributes:
        subject: the plug-in, as registered, or ``path/to/file.py:Class``.
        settings: of the plug-in; the others have their defaults.
        tier: how much is checked.
    """

    kind: ClassVar[str]
    subject: ClassVar[str]
    settings: ClassVar[Mapping[str, Any]] = {}
    tier: ClassVar[Tier] = Tier.QUICK
    _outcomes: ClassVar[dict[str, Outcome]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._outcomes = {}

    @classmethod
    def _found(cls) -> tuple[Kind[Any], Plugin[Any]]:
        found = kind_of(cls.kind)
        return found, found.find(cls.subject, cls.settings)

    @classmethod
    def _outcome(cls, check: Check[Any]) -> Outcome:
        """How a check ends; it runs once per process, whatever runs the tests in parallel."""
        if check.name not in cls._outcomes:
            found, plugin = cls._found()
            cls._outcomes[check.name] = run_check(check, lambda: found.subject(plugin))
        return cls._outcomes[check.name]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test per check."""
        if "check" in metafunc.fixturenames:
            checks = kind_of(self.kind).battery.checks(self.tier)
            metafunc.parametrize("check", checks, ids=[check.name for check in checks])

    def test_conforms(self, check: Check[Any]) -> None:
        """What the check promises holds."""
        outcome = self._outcome(check)
        if outcome.status is Status.SKIPPED:
            pytest.skip(outcome.reason)  # it does not apply; test_enough_checks_ran counts what did
        assert outcome.status is Status.PASSED, f"{outcome.promise} {outcome.reason}"

    def test_enough_checks_ran(self) -> None:
        """A battery that skips everything proves nothing."""
        found, plugin = self._found()
        outcomes = tuple(self._outcome(check) for check in found.battery.checks(self.tier))
        minimum = found.battery.minimum[self.tier]
        report = Report(self.kind, self.subject, plugin.entry.origin, dict(self.settings), self.tier, minimum, outcomes)
        assert report.enough, report.summary


class TrainerTests(PluginTests):
    """Checks of a trainer."""

    kind = "trainer"


class TaskTests(PluginTests):
    """Checks of a task."""

    kind = "task"


class MetricTests(PluginTests):
    """Checks of a metric."""

    kind = "metric"
