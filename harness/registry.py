"""Trainers, tasks and metrics by name: built in, from entry points of other distributions, or from a file.

A name is loaded when it is used: listing imports none of them, so a broken plug-in hides no other. A built-in name
always leads to the built-in, and ``distribution/name`` to what that distribution registers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from harness.discovery import installed
from harness.entries import OWN, Entry, file_entry, normalized
from harness.errors import RegistryError, suggestion
from harness.provenance import version

if TYPE_CHECKING:
    from metrics.base import Metric
    from tasks.base import Task
    from trainers.base import Trainer

T = TypeVar("T")


class Registry(Generic[T]):
    """Lazy registry of one kind.

    Args:
        kind: "trainer", "task" or "metric".
        base: ``module:Class`` that every entry must derive from.
        builtin: names of this distribution, with their targets.
        reserved: keys of a table of a study that are no settings of the class.
    """

    def __init__(self, kind: str, base: str, builtin: Mapping[str, str], reserved: tuple[str, ...]) -> None:
        self.kind, self.base, self.builtin, self.reserved = kind, base, builtin, reserved

    def entries(self) -> list[Entry]:
        """All entries that may be loaded, the built-in ones first; two entries may claim one name."""
        found = [entry for entry in installed(self.kind) if not entry.problem]
        return [*map(self._built_in, self.builtin), *sorted(found, key=lambda entry: (entry.name, entry.origin))]

    def malformed(self) -> list[Entry]:
        """What other distributions register in a way that cannot be loaded."""
        return [entry for entry in installed(self.kind) if entry.problem]

    def listing(self) -> dict[str, Entry]:
        """All entries, each under the shortest name that leads to it."""
        entries = self.entries()
        claims = [entry.name for entry in entries]
        return {
            entry.name if entry.distribution == OWN or claims.count(entry.name) == 1 else entry.qualified: entry
            for entry in entries
        }

    def entry(self, name: str, others: Iterable[str] = (), folder: Path | None = None) -> Entry:
        """Find a name, ``distribution/name``, or ``path/to/file.py:Class``; imports nothing.

        Args:
            name: what to find.
            others: names that are valid there too, for messages.
            folder: what the path of a file is relative to; the current folder if not given.

        Raises:
            RegistryError: if the name is unknown, malformed or claimed twice, or there is no such file.
        """
        if local := file_entry(self.kind, name, folder):
            return local
        owner, _, plain = name.rpartition("/")
        if normalized(owner) in ("", OWN) and plain in self.builtin:
            return self._built_in(plain)
        entries, qualified = self.entries(), (normalized(owner), plain)

        def claims(among: Iterable[Entry]) -> list[Entry]:
            return [each for each in among if name == each.name or qualified == (each.distribution, each.name)]

        found = claims(entries)
        if len(found) > 1:
            sides = " and by ".join(f"{entry.origin} ({entry.target})" for entry in found)
            names = " or ".join(repr(entry.qualified) for entry in found)
            raise RegistryError(f"{self.kind} {name!r} is registered by {sides}: write {names}")
        if not found and (broken := claims(self.malformed())):
            raise RegistryError(f"{broken[0].label} cannot be loaded: {broken[0].problem}")
        if not found:
            valid = {*others, *self.listing(), *(entry.qualified for entry in entries if owner)}
            raise RegistryError(f"unknown {self.kind} {name!r}{suggestion(name, valid)}")
        return found[0]

    def load(self, name: str) -> type[T]:
        """Import the class behind a name.

        Raises:
            RegistryError: if the name leads to no class of this kind that a study can use, or importing it fails.
        """
        return self.load_entry(self.entry(name))

    def load_entry(self, entry: Entry) -> type[T]:
        """Import the class behind an entry, see ``load``."""
        return cast("type[T]", entry.load(self.base, self.reserved))

    def _built_in(self, name: str) -> Entry:
        return Entry(self.kind, name, self.builtin[name], OWN, version(OWN))


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
    reserved=("use", "budget", "optimization", "resources"),
)
TASKS: Registry[Task] = Registry(
    "task",
    "tasks.base:Task",
    {
        "arithmetic": "tasks.arithmetic:Arithmetic",
        "text": "tasks.text:Text",
        "language": "tasks.language:LanguageTask",
    },
    reserved=("use", "model", "budget", "optimization", "resources", "decoders", "metrics", "trainers"),
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
    reserved=("use",),
)
