"""What differs between the specifications of two studies, trial by trial."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from harness.trial import WITHOUT_EFFECT, canonical

Trials = Sequence[Mapping[str, Any]]
MEASUREMENT = ("task", "split", "generation", "decoders", "metrics")
"""Parts of a specification that say on what and how a policy is measured; the rest says how it is trained."""


def incomparable(candidate: Trials, baseline: Trials) -> list[str]:
    """Lines on settings of what is measured, and how, that differ: the numbers mean something else then.

    Args:
        candidate: resolved trials as JSON data.
        baseline: likewise; trials of one trainer, task and seed are held side by side.
    """
    return [f"measured differently: {line}" for line in _lines(candidate, baseline, MEASUREMENT)]


def changes(candidate: Trials, baseline: Trials) -> list[str]:
    """Lines on settings of training that differ, see ``incomparable``."""
    parts = dict.fromkeys(name for trial in (*candidate, *baseline) for name in trial)
    hidden = (*MEASUREMENT, *WITHOUT_EFFECT, "label", "identity", "seed")
    return _lines(candidate, baseline, [name for name in parts if name not in hidden])


def _lines(candidate: Trials, baseline: Trials, parts: Sequence[str]) -> list[str]:
    """``key: before -> now (trainers on tasks)``, each once."""
    places: dict[str, dict[str, None]] = {}
    before = {_key(trial): trial for trial in baseline}
    for trial in candidate:
        if _key(trial) in before:
            was, now = _flat(before[_key(trial)], parts), _flat(trial, parts)
            for name in dict.fromkeys([*was, *now]):
                if was.get(name) != now.get(name):
                    line = f"{name}: {was.get(name, 'none')} -> {now.get(name, 'none')}"
                    places.setdefault(line, {})[f"{trial['trainer']['name']} on {trial['task']['name']}"] = None
    return [f"{line} ({', '.join(where)})" for line, where in places.items()]


def _key(trial: Mapping[str, Any]) -> tuple[str, str, int]:
    return trial["trainer"]["name"], trial["task"]["name"], trial["seed"]


def _flat(trial: Mapping[str, Any], parts: Iterable[str]) -> dict[str, str]:
    """Leaves of a specification by dotted name, as JSON."""
    leaves: dict[str, str] = {}

    def walk(name: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                walk(f"{name}.{key}", inner)
        else:
            leaves[name] = canonical(value)

    for part in parts:
        value = trial.get(part, "test" if part == "split" else None)
        if part == "metrics":
            value = {metric["name"]: _without_folder(metric) for metric in trial.get(part, ())}
        elif part in ("trainer", "task"):
            value = _without_folder(trial[part])
        walk(part, value)
    return leaves


def _without_folder(component: Mapping[str, Any]) -> dict[str, Any]:
    """A local file is the same wherever it lies, as in ``Component.content``."""
    return {**component, "use": PurePath(component["use"]).name}
