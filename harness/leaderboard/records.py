"""Where the numbers of a page come from: the record of every trial, each distinct part written once."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.store import Store

_OWN = ("finished_at", "parameters", "source", "timings", "unmeasured")
_SHARED = ("specification", "git", "machine")


@dataclass
class Parts:
    """Distinct JSON values in order of appearance, named by their index."""

    items: list[Any] = field(default_factory=list)
    _seen: dict[str, int] = field(default_factory=dict)

    def add(self, item: object) -> int:
        """The index of a value, which is kept once."""
        key = json.dumps(item, sort_keys=True)
        if key not in self._seen:
            self._seen[key] = len(self.items)
            self.items.append(item)
        return self._seen[key]


@dataclass(frozen=True)
class Absent:
    """A trial without a result; ``reason`` is the last line of its traceback, empty where it has not been run."""

    label: str
    status: str
    reason: str
    traceback: str


@dataclass(frozen=True)
class Records:
    """The trials of a study, as a page shows them.

    Attributes:
        trials: a JSON object per trial, in the order of the study: ``label, identity, trainer, task, seed, status``
            and, where it has been run, ``finished_at, parameters, source`` (digest of the source code),
            ``timings`` (seconds by phase), ``unmeasured`` (what could not be measured in training), and
            ``specification, git, machine``, each an index into ``parts``.
        parts: the specifications (without the seed), commits and machines.
        absent: the trials that failed or are missing.
    """

    trials: list[dict[str, Any]]
    parts: list[Any]
    absent: list[Absent]


def read_records(store: Store) -> Records:
    """Read the records of a results folder.

    Raises:
        StoreError: if there is no study, or a file is damaged.
    """
    trials, parts, absent = [], Parts(), []
    for entry, record in store.records():
        status = "missing" if record is None else str(record["status"])
        trial = {
            "label": entry["label"],
            "identity": entry["identity"],
            "trainer": entry["trainer"]["name"],
            "task": entry["task"]["name"],
            "seed": entry["seed"],
            "status": status,
        }
        if record is not None:
            specification = {name: value for name, value in record["specification"].items() if name != "seed"}
            shared = {**record, "specification": specification}
            trial |= {name: record.get(name) for name in _OWN}
            trial |= {name: parts.add(shared.get(name)) for name in _SHARED}
        trials.append(trial)
        if status != "finished":
            traceback = str((record or {}).get("traceback") or "").strip()
            reason = traceback.splitlines()[-1] if traceback else ""
            absent.append(Absent(str(trial["label"]), status, reason, traceback))
    return Records(trials, parts.items, absent)
