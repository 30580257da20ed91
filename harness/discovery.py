"""What installed distributions register as plug-ins: read from their metadata, tolerant, and importing none of them.

``importlib.metadata.entry_points`` raises for all distributions where one has a line that is no entry point, so the
files are read one by one.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import re
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from harness.entries import Entry, imported_version, normalized

_TARGET = re.compile(r"(?P<module>\w+(?:\.\w+)*)\s*:\s*(?P<attribute>\w+(?:\.\w+)*)\s*(?:\[.*\])?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_UNKNOWN = "unknown"


def installed(kind: str) -> list[Entry]:
    """Everything registered in the entry-point group of a kind; what can never be loaded has a ``problem``.

    Where a distribution is found twice on the path, the first one counts, as for Python.
    """
    found, seen = list[Entry](), set[str]()
    for distribution in importlib.metadata.distributions():
        try:
            lines = list(_lines(distribution.read_text("entry_points.txt") or "", f"seqmatch.{kind}s"))
            problem = ""
        except UnicodeDecodeError as error:
            lines, problem = ["entry_points.txt"], f"entry_points.txt is not UTF-8: {error.reason}"
        if not lines:
            continue
        name, version = _identity(distribution)
        if name not in seen and _is_first(distribution, name):
            seen |= {name} - {_UNKNOWN}
            found += _entries(kind, lines, name, version, problem, editable=_is_editable(distribution))
    return found


def package_digest(module: str) -> str:
    """Digest of the Python files of the package that a module belongs to, or of its one file; imports nothing.

    Of a namespace package, which others share, only the part below it counts. 12 hexadecimal digits; empty where there
    is no such module.
    """
    top, *parts = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return ""
    while spec is not None and not spec.has_location and spec.submodule_search_locations is not None and parts:
        top = f"{top}.{parts.pop(0)}"
        spec = PathFinder.find_spec(top, list(spec.submodule_search_locations))
    if spec is None or not spec.origin:
        return ""
    home = Path(spec.origin).parent
    files = sorted(home.rglob("*.py")) if spec.submodule_search_locations else [Path(spec.origin)]
    digest = hashlib.sha256()
    for path in files:
        with contextlib.suppress(OSError):  # a dangling link, as an editor leaves beside a file that it has open
            digest.update(path.relative_to(home).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _lines(text: str, group: str) -> Iterator[str]:
    section = ""
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
        elif section == group and not line.startswith(("#", ";")):
            yield line


def _entries(
    kind: str, lines: list[str], distribution: str, version: str, problem: str, *, editable: bool
) -> Iterator[Entry]:
    pairs = dict.fromkeys((name.strip(), value.strip()) for name, _, value in (line.partition("=") for line in lines))
    names, digests = [name for name, _ in pairs], dict[str, str]()
    for name, value in pairs:
        match = _TARGET.fullmatch(value)
        wrong = problem or _problem(name, value, match is not None, names.count(name))
        if wrong or match is None:
            yield Entry(kind, name, value, distribution, version, wrong)
            continue
        module = match["module"]
        if editable and module not in digests:
            digests[module] = package_digest(module)
        release = imported_version(module) or _local(version, digests.get(module, ""))
        yield Entry(kind, name, f"{module}:{match['attribute']}", distribution, release)


def _problem(name: str, value: str, has_target: bool, times: int) -> str:
    if not has_target:
        found = f"{name} = {value}" if value else name
        return f"entry_points.txt has the line {found!r}, which is not NAME = module:Class"
    if not _NAME.fullmatch(name):
        return f"the name {name!r} is not of letters, digits, '_', '-' and '.' only"
    return f"{times} classes of its distribution have this name" if times > 1 else ""


def _local(version: str, digest: str) -> str:
    """A version with a digest as its local part (PEP 440)."""
    return f"{version}{'.' if '+' in version else '+'}{digest}" if digest else version


def _identity(distribution: importlib.metadata.Distribution) -> tuple[str, str]:
    try:
        return normalized(distribution.metadata["Name"]), distribution.version
    except Exception:  # what a damaged METADATA raises differs between versions of Python
        return _UNKNOWN, _UNKNOWN


def _is_first(distribution: importlib.metadata.Distribution, name: str) -> bool:
    """Whether Python finds it by its name, and not another one before it on the path that may register nothing."""
    try:
        return importlib.metadata.distribution(name).locate_file("") == distribution.locate_file("")
    except importlib.metadata.PackageNotFoundError:
        return True


def _is_editable(distribution: importlib.metadata.Distribution) -> bool:
    """Whether it was installed editable (PEP 610): then its code changes and its version does not."""
    try:
        return bool(json.loads(distribution.read_text("direct_url.json") or "{}")["dir_info"]["editable"])
    except (ValueError, KeyError, TypeError):
        return False
