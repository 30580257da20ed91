"""A page of the documentation as a test sees it: blocks of Python that run, tables, and files that it names."""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: the word behind the opening fence.
        line: line of the page on which the content starts, from 1.
        content: what is between the fences.
    """

    language: str
    line: int
    content: str


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page."""
    fences = re.finditer(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [Block(each[1], page[: each.start(2)].count("\n") + 1, each[2]) for each in fences]


def run_python(path: Path) -> int:
    """Run the ```python blocks of a page in order, in one namespace, and compare what they print.

    A ```text block right behind a ```python block is what that one must print; without it, it must print nothing.

    Returns:
        The number of blocks that ran.

    Raises:
        AssertionError: if a block prints something else; what a block raises goes through, with the page's lines.
    """
    found, namespace, ran = blocks(path.read_text()), {"__name__": "page"}, 0
    for block, after in zip(found, [*found[1:], Block("", 0, "")], strict=True):
        if block.language != "python":
            continue
        code = compile("\n" * (block.line - 1) + block.content, str(path), "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
        expected = after.content if after.language == "text" else ""
        assert printed.getvalue() == expected, f"{path}, line {block.line}: printed\n{printed.getvalue()}"
        ran += 1
    return ran


def tables(page: str) -> list[list[list[str]]]:
    """All Markdown tables: rows of cells, the heading first, the rule left out."""
    found = re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE)
    rows = [[[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()] for table in found]
    return [[heading, *body] for heading, _, *body in rows]


def named_files(page: str) -> set[str]:
    """Paths of this repository that a page names: links that lead nowhere else, and `room/file.py`."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page)
    quoted = re.findall(r"`((?:[\w.]+/)+[\w.]+\.(?:py|md|toml))`", page)
    return {*links, *quoted}
