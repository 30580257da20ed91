"""What the checks find of plug-ins that are broken on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from harness.testing.battery import Tier
from harness.testing.report import Outcome, Status
from harness.testing.running import run_check
from harness.testing.subjects import kind_of


class Broken(NamedTuple):
    """A broken plug-in, and what must be found.

    Attributes:
        plugin: its class in the file of broken plug-ins.
        check: that fails.
        message: that it fails with, a regular expression.
        also: further checks that fail, since they see the same fault.
    """

    plugin: str
    check: str
    message: str
    also: tuple[str, ...] = ()


def outcomes(kind: str, address: str, *further: str, settings: dict[str, Any] | None = None) -> dict[str, Outcome]:
    """How the checks of the quick tier, and these further ones, end."""
    found = kind_of(kind)
    plugin = found.find(address, settings or {})
    checks = [check for check in found.battery.checks(Tier.FULL) if check.tier is Tier.QUICK or check.name in further]
    return {check.name: run_check(check, lambda: found.subject(plugin)) for check in checks}


def failed(found: dict[str, Outcome]) -> dict[str, str]:
    """What was seen by the checks that failed."""
    return {name: outcome.reason for name, outcome in found.items() if outcome.status is Status.FAILED}


def beside(test_file: str, name: str) -> Path:
    """A file beside a test."""
    return Path(test_file).with_name(name)
