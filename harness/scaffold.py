"""``seqmatch new``: a package with a plug-in that works, to be changed into one's own."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.registry import METRICS, TASKS, TRAINERS

KINDS = {registry.kind: registry for registry in (TRAINERS, TASKS, METRICS)}
_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_RUNS = {
    "trainer": "the trainer beside maximum likelihood, on a language of which the truth is known",
    "task": "maximum likelihood, beside no training, on the task",
    "metric": "the metric of texts of a model before and after training",
}


@dataclass(frozen=True)
class Package:
    """Names of a plug-in.

    Attributes:
        kind: "trainer", "task" or "metric".
        name: under which it is registered.
    """

    kind: str
    name: str

    @property
    def distribution(self) -> str:
        return f"seqmatch-{self.name.replace('_', '-')}"

    @property
    def module(self) -> str:
        """The prefix keeps it from hiding another module, ``torch`` say."""
        return self.distribution.replace("-", "_")

    @property
    def class_name(self) -> str:
        words = "".join(word.capitalize() for word in re.split("[-_]", self.name))
        return words.removesuffix(self.kind.title()) + self.kind.title()

    @property
    def source(self) -> str:
        """The file of the class, in the package."""
        return f"src/{self.module}/{self.kind}.py"

    def files(self) -> dict[str, str]:
        """Path in the package, and content, of every file."""
        from jinja2 import Environment, PackageLoader, StrictUndefined

        environment = Environment(
            loader=PackageLoader("harness"),
            undefined=StrictUndefined,
            trim_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,
        )
        words = {
            "kind": self.kind,
            "name": self.name,
            "number": self.name.replace("-", "_"),
            "distribution": self.distribution,
            "module": self.module,
            "class": self.class_name,
            "source": self.source,
            "runs": _RUNS[self.kind],
        }
        templates = {
            "pyproject.toml": "pyproject.toml",
            "README.md": "README.md",
            "study.toml": "study.toml",
            f"src/{self.module}/__init__.py": "__init__.py",
            self.source: f"{self.kind}.py",
            f"tests/test_{self.kind}.py": "test.py",
        }
        made = {path: environment.get_template(f"{source}.jinja").render(words) for path, source in templates.items()}
        return {**made, f"src/{self.module}/py.typed": ""}


def write_package(kind: str, name: str, folder: Path | None = None) -> tuple[Package, Path]:
    """Write a package with a plug-in, whole.

    Args:
        kind: "trainer", "task" or "metric".
        name: to register it under.
        folder: to be made; named after the distribution, in the current folder, if not given.

    Returns:
        The names of the package, and its folder.

    Raises:
        HarnessError: if the name cannot be registered, the folder is there already, or it cannot be written.
    """
    _check(kind, name)
    package = Package(kind, name)
    folder = folder or Path(package.distribution)
    if folder.exists() or folder.is_symlink():
        raise HarnessError(f"{folder} is there already: choose another name, or another folder with --out")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".seqmatch-new-") as scratch:
            made = Path(scratch) / "package"
            for path, content in package.files().items():
                (made / path).parent.mkdir(parents=True, exist_ok=True)
                (made / path).write_text(content, encoding="utf-8")
            made.rename(folder)
    except OSError as error:
        raise HarnessError(f"cannot write {folder}: {error.strerror or error}") from error
    return package, folder


def _check(kind: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        near = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()).strip("-0123456789")
        hint = f"; {near!r} would do" if _NAME.fullmatch(near) else ""
        raise HarnessError(
            f"name {name!r} must be lower-case letters, digits, and single '-' or '_' between them, "
            f"and begin with a letter{hint}"
        )
    if name == kind:
        raise HarnessError(f"name {name!r} says nothing of the {kind}: 'my-{name}' would do")
    if name in KINDS[kind].builtin:
        raise HarnessError(
            f"name {name!r} is that of a {kind} of seqmatch, to which it would always lead: 'my-{name}' would do"
        )
    if kind == METRICS.kind and name.replace("-", "_") in _numbers():
        raise HarnessError(
            f"name {name!r} would name the number of the metric too, and seqmatch has one of that name: "
            f"'my-{name}' would do"
        )


def _numbers() -> set[str]:
    return {number for name in METRICS.builtin for number in METRICS.load(name).values}
