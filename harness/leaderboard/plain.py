"""Tables of rich as plain text; it needs rich alone, so that ``seqmatch list`` starts at once."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType

UNBOUNDED = 10_000
"""Width, in characters, at which no table wraps."""


def as_text(tables: RenderableType) -> str:
    """Tables as plain text, as wide as they need to be."""
    console = Console(file=io.StringIO(), width=UNBOUNDED)
    with console.capture() as capture:
        console.print(tables)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"
