"""Where the name of a trainer, task or metric leads, and how the class behind it is loaded and checked."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from types import ModuleType

from harness.errors import RegistryError, one_line
from harness.validation import hints_of, settings_of

OWN = "seqmatch"
LOCAL = "local file"

_imported: dict[str, str] = {}
"""Version of every module of a plug-in at the time when this process imported it."""


@dataclass(frozen=True)
class Entry:
    """Where a name leads.

    Attributes:
        kind: "trainer", "task" or "metric".
        name: the registered name, or the path of a file entry.
        target: ``module:Class``, or ``/path/to/file.py:Class``.
        distribution: what provides it; "local file" for a file.
        version: of the distribution; a digest of the content for a file.
        problem: why it cannot be loaded, where that is known without importing it.
    """

    kind: str
    name: str
    target: str
    distribution: str
    version: str
    problem: str = ""

    @property
    def origin(self) -> str:
        return f"{self.distribution} {self.version}"

    @property
    def qualified(self) -> str:
        """The name that no other distribution can claim."""
        return f"{normalized(self.distribution)}/{self.name}"

    @property
    def recorded(self) -> str:
        """What a trial records, so that the name still leads here when another distribution claims it too."""
        if self.distribution == LOCAL:
            return self.target
        return self.name if self.distribution == OWN else self.qualified

    @property
    def label(self) -> str:
        """The entry in messages."""
        return f"{self.kind} {self.name!r} ({self.target} of {self.origin})"

    def load(self, base: str, reserved: Collection[str] = ()) -> type:
        """Import the class and check that a study can use it.

        Args:
            base: ``module:Class`` that it must derive from.
            reserved: names that its settings must not have.

        Raises:
            RegistryError: if importing it fails or stops the program, or it is no class that a study can use.
        """
        if self.problem:
            raise RegistryError(f"{self.label} cannot be loaded: {self.problem}")
        base_module, _, base_name = base.partition(":")
        wanted = getattr(importlib.import_module(base_module), base_name)
        try:
            found = attrgetter(self.target.rpartition(":")[2])(self._module())
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # an import may also stop the program
            raise RegistryError(f"{self.label} cannot be loaded: {one_line(error)}") from error
        if not (isinstance(found, type) and issubclass(found, wanted)):
            raise RegistryError(f"{self.label} is not a subclass of {base_module}.{base_name}")
        declared = {name for name in inspect.get_annotations(wanted) if not hasattr(found, name)}
        if missing := declared | getattr(found, "__abstractmethods__", frozenset()):
            raise RegistryError(f"{self.label} is abstract: it does not define {', '.join(sorted(missing))}")
        for name in settings_of(found):
            if name in reserved:
                raise RegistryError(f"{self.label} has a setting named {name!r}, which a study uses otherwise")
            if callable(getattr(wanted, name, None)):
                raise RegistryError(f"{self.label} has a setting named {name!r}, which is a method of {base_name}")
        try:
            hints_of(found)
        except Exception as error:
            raise RegistryError(f"{self.label} has a setting whose type cannot be read: {one_line(error)}") from error
        return found

    def _module(self) -> ModuleType:
        source = self.target.rpartition(":")[0]
        if not source.endswith(".py"):
            if source not in sys.modules:
                _imported.pop(source, None)  # of code that was in memory before
            module = importlib.import_module(source)
            _imported.setdefault(source, self.version)
            return module
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


def imported_version(module: str) -> str | None:
    """Version of the code of a plug-in's module that this process runs; None where it has not imported it."""
    return _imported.get(module) if module in sys.modules else None


def file_entry(kind: str, name: str, folder: Path | None = None) -> Entry | None:
    """The entry of ``path/to/file.py:Class``; None where a name does not look like one.

    Args:
        kind: "trainer", "task" or "metric".
        name: what may be such a path.
        folder: what a relative path is relative to; the current folder if not given.

    Raises:
        RegistryError: if no class is named, or there is no such file.
    """
    source, _, attribute = name.rpartition(":")
    if name.endswith(".py") or (source.endswith(".py") and not attribute):
        raise RegistryError(f"{kind} {name!r} names no class: write {name.rstrip(':')}:CLASS")
    if not source.endswith(".py"):
        return None
    path = Path(folder or "", source).resolve()
    if not path.is_file():
        raise RegistryError(f"{kind} {name!r}: there is no file {path}")
    return Entry(kind, name, f"{path}:{attribute}", LOCAL, hashlib.sha256(path.read_bytes()).hexdigest()[:12])


def normalized(distribution: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()
