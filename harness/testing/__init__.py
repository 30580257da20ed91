"""Conformance checks for trainers, tasks and metrics, for their authors: as functions, and as pytest classes.

Nothing is imported before it is used: the classes need pytest, and the checks need torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.testing.battery import Tier
    from harness.testing.pytest_classes import MetricTests, TaskTests, TrainerTests
    from harness.testing.report import Report
    from harness.testing.running import run_checks

_HOMES = {
    "MetricTests": "pytest_classes",
    "Report": "report",
    "TaskTests": "pytest_classes",
    "Tier": "battery",
    "TrainerTests": "pytest_classes",
    "run_checks": "running",
}

__all__ = ["MetricTests", "Report", "TaskTests", "Tier", "TrainerTests", "run_checks"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
