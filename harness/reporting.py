"""What a running trial sends to an experiment tracker: losses, meters and metrics, one run per trial.

Trackers are the user's view of a study while it runs, and no part of it: a trial computes the same with and without,
its clock stands still while it reports, and a tracker that breaks is dropped with a note.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.errors import RequestError, suggestion
from harness.trial import Trial


class Tracker(Protocol):
    """One run of an experiment tracker."""

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """Send numbers of an optimiser step."""

    def close(self) -> None:
        """End the run."""


@dataclass
class Reports:
    """The trackers of one trial.

    Attributes:
        trackers: by name.
        note: told when one breaks.
    """

    trackers: dict[str, Tracker] = field(default_factory=dict)
    note: Callable[[str], None] = print

    def curve(self, row: Mapping[str, float]) -> None:
        """Send a row of the learning curve: ``train/loss``, ``train/tokens`` and so on."""
        self._log({f"train/{name}": value for name, value in row.items() if name != "step"}, int(row["step"]))

    def measured(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Send rows of the long table: ``eval/<decoder>/<metric>``, at their steps."""
        steps: dict[int, dict[str, float]] = {}
        for row in rows:
            steps.setdefault(int(row["step"]), {})[f"eval/{row['decoder']}/{row['metric']}"] = row["value"]
        for step, numbers in steps.items():
            self._log(numbers, step)

    def close(self) -> None:
        """End all runs."""
        for name in list(self.trackers):
            self._guarded(name, lambda tracker: tracker.close())

    def _log(self, numbers: Mapping[str, float], step: int) -> None:
        known = {name: float(value) for name, value in numbers.items() if value is not None and not math.isnan(value)}
        for name in list(self.trackers):
            self._guarded(name, lambda tracker: tracker.log(known, step))

    def _guarded(self, name: str, action: Callable[[Tracker], None]) -> None:
        try:
            action(self.trackers[name])
        except Exception as error:
            del self.trackers[name]
            self.note(f"warning: nothing more is reported to {name}: {type(error).__name__}: {error}")


def chosen(names: Iterable[str]) -> tuple[str, ...]:
    """The trackers that are asked for, each once; a name may be several with commas between them.

    Raises:
        RequestError: if one is unknown or not installed.
    """
    found = dict.fromkeys(
        name.strip() for each in names for name in each.split(",") if name.strip() not in ("", "none")
    )
    for name in found:
        if name not in TRACKERS:
            raise RequestError(f"--report-to {name}: unknown{suggestion(name, TRACKERS)}")
        if importlib.util.find_spec(name) is None:
            raise RequestError(f"--report-to {name}: {name} is not installed: pip install 'seqmatch[{name}]'")
    return tuple(found)


@contextmanager
def reports(names: Sequence[str], trial: Trial, out: Path, note: Callable[[str], None]) -> Iterator[Reports]:
    """Open a run of every tracker for a trial, and close them afterwards; a killed trial begins them afresh.

    Args:
        names: from ``chosen``.
        trial: names the run, and is its configuration.
        out: results folder.
        note: told when a tracker breaks.
    """
    found = Reports({}, note)
    for name in names:
        try:
            found.trackers[name] = TRACKERS[name](trial, out)
        except Exception as error:
            note(f"warning: nothing is reported to {name}: {type(error).__name__}: {error}")
    try:
        yield found
    finally:
        found.close()


def _configuration(trial: Trial) -> dict[str, Any]:
    return {"identity": trial.identity, **asdict(trial)}


def _tensorboard(trial: Trial, out: Path) -> Tracker:
    from harness.trackers.tensorboard import Tensorboard

    return Tensorboard(out / "tensorboard" / trial.label, _configuration(trial))


def _trackio(trial: Trial, out: Path) -> Tracker:
    from harness.trackers.trackio import Trackio

    del out
    return Trackio(trial.study, trial.label, _configuration(trial))


def _wandb(trial: Trial, out: Path) -> Tracker:
    from harness.trackers.wandb import WeightsAndBiases

    return WeightsAndBiases(trial.study, trial.label, out, _configuration(trial))


TRACKERS: dict[str, Callable[[Trial, Path], Tracker]] = {
    "tensorboard": _tensorboard,
    "trackio": _trackio,
    "wandb": _wandb,
}
