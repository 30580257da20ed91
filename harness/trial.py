"""A trial: one trainer on one task with one seed, resolved down to every setting."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from harness.entries import Entry
from harness.validation import plain

WITHOUT_EFFECT = ("study", "save_policy", "checkpoint_every", "resources")
"""Parts of a trial that cannot change its result."""


@dataclass(frozen=True, kw_only=True)
class Component:
    """A trainer, task or metric of a trial.

    Attributes:
        name: its name in the study.
        use: the name of a built-in, ``distribution/name``, or ``/path/to/file.py:Class``.
        settings: all of them, defaults filled in, as JSON data.
        distribution, version: what provides it; for a file, "local file" and a digest of its content.
    """

    name: str
    use: str
    settings: dict[str, Any]
    distribution: str
    version: str

    def content(self) -> dict[str, Any]:
        """What can change a result; the folder of a local file cannot, and a distribution is named already."""
        return {**asdict(self), "use": Path(self.use).name}


def component(name: str, entry: Entry, instance: object) -> Component:
    """What a trial records of a trainer, task or metric.

    Args:
        name: its name in the study.
        entry: where its class comes from.
        instance: built from its settings.
    """
    return Component(
        name=name,
        use=entry.recorded,
        settings=plain(instance),
        distribution=entry.distribution,
        version=entry.version,
    )


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The resolved specification of one trial.

    Attributes:
        study: name of the study.
        trainer, task: what is trained on what.
        model, budget, optimization, generation: settings with defaults filled in; assets are not resolved, so that
            the identity is the same on every machine.
        decoders: settings by name, in order.
        metrics: what is measured, in order.
        evaluation: number of points, and metrics by name, for the measurements in training; empty where there are none.
        split: "test" or "validation", what the policy is judged on.
        seed: everything random in the trial follows from it.
        threads: torch threads.
        save_policy: whether the trained policy is kept.
        checkpoint_every: optimiser steps between checkpoints; 0: none.
        resources: what it takes of a node of a cluster, ``cpus`` and ``gpus``.
        versions: of the libraries that can change the result.
    """

    study: str
    trainer: Component
    task: Component
    model: dict[str, Any]
    budget: dict[str, Any]
    optimization: dict[str, Any]
    generation: dict[str, Any]
    decoders: dict[str, dict[str, Any]]
    metrics: tuple[Component, ...]
    seed: int
    threads: int
    save_policy: bool
    versions: dict[str, str]
    split: Literal["test", "validation"] = "test"
    evaluation: dict[str, Any] = field(default_factory=dict)
    checkpoint_every: int = 0
    resources: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trial:
        """Make a trial of what ``dataclasses.asdict`` and JSON made of one; other keys are left out.

        Raises:
            KeyError, TypeError: if the data lack a field of a trial of this version.
        """
        values = {field.name: data[field.name] for field in fields(cls) if field.name in data}
        for name in ("trainer", "task"):
            values[name] = Component(**values[name])
        return cls(**{**values, "metrics": tuple(Component(**metric) for metric in values["metrics"])})

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the canonical JSON of everything that can change the result (64 hexadecimal digits)."""
        content = {
            **asdict(self),
            "trainer": self.trainer.content(),
            "task": self.task.content(),
            "metrics": [metric.content() for metric in self.metrics],
        }
        for name in WITHOUT_EFFECT:
            del content[name]
        if not self.evaluation:
            del content["evaluation"]
        if self.split == "test":
            del content["split"]
        return hashlib.sha256(canonical(content).encode()).hexdigest()

    @property
    def label(self) -> str:
        """Name of the trial, and of its folder."""
        return f"{self.trainer.name}-{self.task.name}-s{self.seed}-{self.identity[:8]}"


def canonical(data: object) -> str:
    """JSON with sorted keys and no spaces: equal data give equal text."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
