"""What is known of a trial while it runs, and even if it fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from harness.reporting import Reports


@dataclass
class Log:
    """Timings and learning curve of a trial.

    Attributes:
        timings: wall-clock seconds by phase (data, model, training, evaluation in training, generation, metrics).
        curve: rows of the learning curve.
        sent: takes the same rows, and what is measured, for the user to watch.
    """

    timings: dict[str, float] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)
    sent: Reports = field(default_factory=Reports)
    _inner: float = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a phase, less that of phases inside it."""
        self.timings.setdefault(name, 0.0)
        started, outer, self._inner = time.monotonic(), self._inner, 0.0
        try:
            yield
        finally:
            spent = time.monotonic() - started
            self.timings[name] += spent - self._inner
            self._inner = outer + spent
