"""Trials one after the other, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.engines import RunTrial
from harness.progress import Display
from harness.trial import Trial


class Serial:
    """Runs trials here; what kills one kills the run, which can be run again."""

    def run(self, trials: Sequence[Trial], out: Path, run_trial: RunTrial, shown: Display) -> None:
        """Run all trials, see ``harness.engines.Engine``."""
        for trial in trials:
            run_trial(trial, out, shown.show)
