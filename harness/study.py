"""A study file: what is to be trained on what, and how it is measured."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.errors import StudyError, suggestion
from harness.validation import Key, build, plain

BUNDLED = Path(__file__).parent / "studies"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class Generation:
    """How test completions are sampled.

    Attributes:
        batch_size: prompts sampled together.
        max_actions_per_token: a walk ends after this many actions per visible token it may write.
    """

    batch_size: int = 64
    max_actions_per_token: int = 4

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_actions_per_token"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """When policies are measured in training; the end is always measured, with all metrics.

    Attributes:
        points: at how many evenly spaced optimiser steps of the budget, the last of which is its end; 0: only when
            training ends.
        metrics: names of those to compute before the end, wherever a task has them; all of a task's if not given.
    """

    points: int = 0
    metrics: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.points < 0:
            raise ValueError(f"points must be at least 0, got {self.points}")
        if self.metrics == ():
            raise ValueError("metrics must name at least one: drop the key for all of a task's")

    def steps(self, budget: int) -> tuple[int, ...]:
        """The points before the end, for a budget in optimiser steps."""
        steps = (round(budget * point / self.points) for point in range(1, self.points))
        return tuple(dict.fromkeys(step for step in steps if 0 < step < budget))


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a trial takes of a node of a cluster.

    Attributes:
        cpus: cores; as many as it has threads if not given.
        gpus: devices; a fraction where trials share one.
    """

    cpus: float | None = None
    gpus: float = 0

    def __post_init__(self) -> None:
        if self.cpus is not None and self.cpus <= 0:
            raise ValueError(f"cpus must be above 0, got {self.cpus}")
        if self.gpus < 0:
            raise ValueError(f"gpus must be at least 0, got {self.gpus}")


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study as written: the tables of trainers, tasks and so on are checked when it is expanded into trials.

    Attributes:
        name: also names the results folder.
        description: one line, shown by ``seqmatch list studies``.
        seeds: how many (0, 1, ...), or which.
        split: what policies are judged on: "test", or "validation" while settings are being chosen; no test example is
            read then.
        save_policies: keep every trained policy beside its results.
        checkpoint_every: optimiser steps between checkpoints of a running trial, to go on from after a crash; 0: none.
        threads: torch threads of a trial; part of its identity, since sums depend on it.
        resources: a ``Resources``, for an engine that asks for them.
        model: a ``trainers.model_spec.ModelSpec``.
        budget: a ``trainers.base.Budget``.
        optimization: a ``trainers.base.Optimization``.
        generation: how test completions are sampled.
        evaluation: when policies are measured in training.
        decoders: ``trainers.decoding.Decoder`` by name.
        trainers: settings by name; ``use`` names the registered trainer where the table's name is an alias, and
            ``budget``, ``optimization`` and ``resources`` override the study's.
        tasks: settings by name; ``use`` as above; ``model``, ``budget``, ``optimization``, ``resources`` override the
            study's, ``decoders`` picks some by name, ``metrics`` (settings by name) replaces the task's own list,
            ``trainers`` (settings by name) overrides those of the study's trainers on this task.
        metrics: settings of a metric wherever a task uses it; ``use`` as above.
    """

    name: str
    description: str = ""
    seeds: int | tuple[int, ...] = 1
    split: Literal["test", "validation"] = "test"
    save_policies: bool = False
    checkpoint_every: int = 100
    threads: int = 1
    resources: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any]
    budget: dict[str, Any]
    optimization: dict[str, Any] = field(default_factory=dict)
    generation: Generation = field(default_factory=Generation)
    evaluation: Evaluation = field(default_factory=Evaluation)
    decoders: dict[str, dict[str, Any]] = field(default_factory=lambda: {"ancestral": {}})
    trainers: dict[str, dict[str, Any]]
    tasks: dict[str, dict[str, Any]]
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        chosen = self.chosen_seeds
        if not chosen or min(chosen) < 0 or len(set(chosen)) < len(chosen):
            raise ValueError(
                f"seeds must be a number of at least 1, or distinct numbers of at least 0, got {self.seeds!r}"
            )
        if self.checkpoint_every < 0:
            raise ValueError(f"checkpoint_every must be at least 0, got {self.checkpoint_every}")
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")
        for name in ("decoders", "trainers", "tasks"):
            if not getattr(self, name):
                raise ValueError(f"there are no {name}: add a table [{name}.NAME]")
        for name in (self.name, *self.decoders, *self.trainers, *self.tasks, *self.metrics):
            if not _NAME.fullmatch(name):
                hint = f'; write use = "{name}" under a plain name' if "/" in name else ""
                raise ValueError(
                    f"name {name!r} must be letters, digits, '_', '-' and '.' only: it becomes a file name{hint}"
                )

    @property
    def chosen_seeds(self) -> tuple[int, ...]:
        """The seeds of the study."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else tuple(self.seeds)


def bundled_studies() -> dict[str, Path]:
    """The studies that come with the harness, by name."""
    return {path.stem: path for path in sorted(BUNDLED.glob("*.toml"))}


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        StudyError: if it cannot be read or parsed.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise StudyError(f"{path}: is not valid TOML: {error}") from error


def load_study(study: str | Path | Study, overrides: Iterable[str] = ()) -> tuple[Study, Key]:
    """Read a study and apply overrides.

    Args:
        study: name of a bundled study, path of a TOML file, or a study.
        overrides: see ``apply_override``.

    Returns:
        The study, and where it comes from, for messages.

    Raises:
        StudyError: if it cannot be found, read or validated, or an override cannot be parsed.
    """
    if isinstance(study, Study):
        table, source = plain(study), f"study {study.name!r}"
    else:
        path = _locate(study)
        table, source = read_toml(path), str(path)
    for override in overrides:
        apply_override(table, override)
    key = Key(source)
    return build(Study, table, key), key


def home(study: str | Path | Study) -> Path:
    """The folder that ``use = "file.py:Class"`` is relative to: that of the study's file.

    For a study made in Python, or bundled with the harness, it is the current folder.
    """
    if isinstance(study, Study) or _is_name(study):
        return Path()
    return Path(study).parent


def _is_name(study: str | Path) -> bool:
    return isinstance(study, str) and not (study.endswith(".toml") or "/" in study or "\\" in study)


def _locate(study: str | Path) -> Path:
    if not _is_name(study):
        return Path(study)
    text, bundled = str(study), bundled_studies()
    if text not in bundled:
        raise StudyError(f"unknown study {text!r}{suggestion(text, bundled)}; a file's name must end in .toml")
    return bundled[text]


def apply_override(table: dict[str, Any], override: str) -> None:
    """Set a key of a table, in place.

    Args:
        table: a study, or the settings of a part of it.
        override: ``a.b=c``, where c is a TOML value, or else taken as a string.

    Raises:
        StudyError: if the override cannot be parsed, or ``a`` is no table.
    """
    name, equals, text = override.partition("=")
    problem = f"--set {override}: "
    try:
        parsed: Any = tomllib.loads(f"{name} = 0") if equals else {}
    except tomllib.TOMLDecodeError:
        parsed = {}
    path: list[str] = []
    while isinstance(parsed, dict) and len(parsed) == 1:
        (part, parsed), *_ = parsed.items()
        path.append(part)
    if not path or parsed != 0:
        raise StudyError(f"{problem}must look like key.key=value")
    try:
        values = tomllib.loads(f"value = {text}")
        value = values["value"] if len(values) == 1 else text
    except tomllib.TOMLDecodeError:
        value = text
    for depth, part in enumerate(path[:-1], 1):
        table = table.setdefault(part, {})
        if not isinstance(table, Mapping):
            raise StudyError(f"{problem}{'.'.join(path[:depth])} is {table!r}, not a table")
    table[path[-1]] = value
