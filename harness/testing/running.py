"""Runs the checks of a plug-in, each on a subject of its own."""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from harness.progress import quiet
from harness.testing.battery import Check, CheckError, CheckSkipped, Tier
from harness.testing.report import Outcome, Report, Status
from harness.testing.subjects import kind_of

S = TypeVar("S")


def run_checks(
    kind: str,
    name: str,
    settings: Mapping[str, Any] | None = None,
    tier: Tier = Tier.QUICK,
) -> Report:
    """Check a trainer, task or metric.

    Args:
        kind: "trainer", "task" or "metric".
        name: as registered, or ``path/to/file.py:Class``.
        settings: of the plug-in; the others have their defaults.
        tier: how much is checked.

    Raises:
        RequestError: if there is no such kind.
        StudyError: if there is no such plug-in, it cannot be loaded, or its settings are wrong.
    """
    found = kind_of(kind)
    plugin = found.find(name, settings or {})
    outcomes = [run_check(check, lambda: found.subject(plugin)) for check in found.battery.checks(tier)]
    minimum = found.battery.minimum[tier]
    return Report(kind, name, plugin.entry.origin, dict(plugin.settings), tier, minimum, tuple(outcomes))


def run_check(check: Check[S], make: Callable[[], S]) -> Outcome:
    """Run one check on a fresh subject; whatever it raises, and an exit too, is a failure and not the end.

    Args:
        check: what must hold.
        make: makes the subject.
    """
    started, status, reason = time.monotonic(), Status.PASSED, ""
    with _restored_process():
        try:
            check.function(make())
        except CheckSkipped as skipped:
            status, reason = Status.SKIPPED, str(skipped)
        except CheckError as failed:
            status, reason = Status.FAILED, str(failed)
        except (Exception, SystemExit) as error:
            status, reason = Status.FAILED, f"raised {type(error).__name__}: {error}"
    return Outcome(check.name, check.promise, status, reason, time.monotonic() - started)


@contextmanager
def _restored_process() -> Iterator[None]:
    """What one check leaves behind is not what the next one finds: random states, folder, environment, settings."""
    import numpy as np
    import torch

    from harness.testing.process_state import process_settings, restore_process, restore_torch, torch_settings

    before, before_torch = process_settings(), torch_settings()
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with quiet(), warnings.catch_warnings(), torch.random.fork_rng():
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        restore_torch(before_torch)
        restore_process(before)
