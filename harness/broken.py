"""Plug-ins that cannot be used: a warning of one line, and a table that says what is wrong with each.

A broken plug-in never stops what does not use it, unless ``SEQMATCH_STRICT=1`` asks for an error in place of warnings.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from harness.errors import RegistryError
from harness.registry import Registry

if TYPE_CHECKING:
    from rich.table import Table

STRICT = "SEQMATCH_STRICT"


def warn(problem: str) -> None:
    """Write a warning of one line to standard error.

    Raises:
        RegistryError: instead, where ``SEQMATCH_STRICT`` is set to anything but 0.
    """
    if os.environ.get(STRICT, "0") not in ("", "0"):
        raise RegistryError(f"{problem} ({STRICT} makes this an error)")
    sys.stderr.write(f"warning: {problem}\n")


def warn_of_malformed(registry: Registry[Any]) -> None:
    """Warn of every plug-in that is registered in a way that cannot be loaded; imports none.

    Raises:
        RegistryError: see ``warn``.
    """
    for entry in registry.malformed():
        warn(f"{entry.label} cannot be loaded: {entry.problem}")


def broken(registry: Registry[Any]) -> Table | None:
    """Import everything that is registered, warn of what cannot be used, and list it; None where all is well.

    Raises:
        RegistryError: see ``warn``.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "class", "from", "what is wrong")
    for name, entry in (*registry.listing().items(), *((entry.name, entry) for entry in registry.malformed())):
        try:
            registry.load_entry(entry)
        except RegistryError as error:
            warn(str(error))
            problem = str(error).removeprefix(entry.label).strip()
            table.add_row(*map(Text, (name, entry.target, entry.origin, problem)))
    return table if table.row_count else None
