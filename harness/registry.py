"""Trainers, tasks and metrics by name: built in, from entry points of other distributions, or from a file.

A name is loaded when it is used: listing imports none of them, so a broken plug-in hides no other.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from harness.errors import RegistryError, suggestion
from harness.provenance import version

if TYPE_CHECKING:
    from metrics.base import Metric
    from tasks.base import Task
    from trainers.base import Trainer

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """Where a name leads.

    Attributes:
        kind: "trainer", "task" or "metric".
        name: the registered name, or the path of a file entry.
        target: ``module:Class``, or ``/path/to/file.py:Class``.
        distribution: what provides it; "local file" for a file.
        version: of the distribution; a digest of the content for a file.
    """

    kind: str
    name: str
    target: str
    distribution: str
    version: str

    @property
    def origin(self) -> str:
        return f"{self.distribution} {self.version}"

    def module(self) -> ModuleType:
        """Import the module that defines the class."""
        source = self.target.rpartition(":")[0]
        if not source.endswith(".py"):
            return importlib.import_module(source)
        name = f"seqmatch_local_{Path(source).stem}_{hashlib.sha256(source.encode()).hexdigest()[:8]}_{self.version}"
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, source)
            if spec is None or spec.loader is None:
                raise ImportError(f"{source} is no Python file")
            sys.modules[name] = module = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[name]
                raise
        return sys.modules[name]


class Registry(Generic[T]):
    """Lazy registry of one kind.

    Args:
        kind: "trainer", "task" or "metric".
        base: ``module:Class`` that every entry must derive from.
        builtin: names of this distribution, with their targets.
    """

    def __init__(self, kind: str, base: str, builtin: Mapping[str, str]) -> None:
        self.kind, self.base, self.builtin, self.group = kind, base, builtin, f"seqmatch.{kind}s"

    def entries(self) -> list[Entry]:
        """All entries, the built-in ones first; two entries may claim one name."""
        found = {
            Entry(self.kind, name, target, "seqmatch", version("seqmatch")) for name, target in self.builtin.items()
        }
        for point in importlib.metadata.entry_points(group=self.group):
            name, release = (point.dist.name, point.dist.version) if point.dist else ("unknown", "unknown")
            found.add(Entry(self.kind, point.name, point.value, name, release))
        order = list(self.builtin)
        return sorted(
            found,
            key=lambda e: (
                e.distribution != "seqmatch",
                order.index(e.name) if e.name in order else 0,
                e.name,
                e.target,
            ),
        )

    def entry(self, name: str, others: Iterable[str] = ()) -> Entry:
        """Find a name, or ``path/to/file.py:Class``; imports nothing.

        Args:
            name: what to find.
            others: names that are valid there too, for messages.

        Raises:
            RegistryError: if the name is unknown or claimed twice, or there is no such file.
        """
        source, _, attribute = name.rpartition(":")
        if source.endswith(".py"):
            path = Path(source).resolve()
            if not path.is_file():
                raise RegistryError(f"{self.kind} {name!r}: there is no file {path}")
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
            return Entry(self.kind, name, f"{path}:{attribute}", "local file", digest)
        entries = self.entries()
        claims = [entry for entry in entries if entry.name == name]
        if not claims:
            valid = {*others, *(entry.name for entry in entries)}
            raise RegistryError(f"unknown {self.kind} {name!r}{suggestion(name, valid)}")
        if len(claims) > 1:
            sides = " and by ".join(f"{entry.origin} ({entry.target})" for entry in claims)
            raise RegistryError(f"{self.kind} {name!r} is registered by {sides}: uninstall one of them")
        return claims[0]

    def load(self, name: str) -> type[T]:
        """Import the class behind a name.

        Raises:
            RegistryError: if the name leads to no class of this kind, or importing it fails.
        """
        entry = self.entry(name)
        attribute = entry.target.rpartition(":")[2]
        base_module, _, base_name = self.base.partition(":")
        base = getattr(importlib.import_module(base_module), base_name)
        label = f"{self.kind} {name!r} ({entry.target} of {entry.origin})"
        try:
            found = getattr(entry.module(), attribute)
        except Exception as error:
            raise RegistryError(f"{label} cannot be loaded: {type(error).__name__}: {error}") from error
        if not (isinstance(found, type) and issubclass(found, base)):
            raise RegistryError(f"{label} is not a subclass of {base_module}.{base_name}")
        if inspect.isabstract(found):
            missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
            raise RegistryError(f"{label} is abstract: it does not define {missing}")
        return cast("type[T]", found)


TRAINERS: Registry[Trainer] = Registry(
    "trainer",
    "trainers.base:Trainer",
    {
        "pretrained": "trainers.pretrained:Pretrained",
        "mle": "trainers.mle:MaximumLikelihood",
        "unlikelihood": "trainers.unlikelihood:Unlikelihood",
        "behavioral_cloning": "trainers.behavioral_cloning:BehavioralCloning",
        "sequence_match": "trainers.sequence_match:SequenceMatch",
        "sequence_match_backspace": "trainers.sequence_match:SequenceMatchBackspace",
    },
)
TASKS: Registry[Task] = Registry(
    "task",
    "tasks.base:Task",
    {
        "arithmetic": "tasks.arithmetic:Arithmetic",
        "text": "tasks.text:Text",
        "language": "tasks.language:LanguageTask",
    },
)
METRICS: Registry[Metric] = Registry(
    "metric",
    "metrics.base:Metric",
    {
        "mauve": "metrics.mauve:Mauve",
        "diversity": "metrics.diversity:Diversity",
        "accuracy": "metrics.accuracy:Accuracy",
        "perplexity": "metrics.perplexity:Perplexity",
        "generative_perplexity": "metrics.generative_perplexity:GenerativePerplexity",
        "exact": "metrics.exact:Exact",
        "trajectories": "metrics.trajectories:Trajectories",
        "injected_errors": "metrics.injected_errors:InjectedErrors",
    },
)
