"""A page of the documentation as a test sees it: blocks of Python that run, tables, and files that it names."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: the word behind the opening fence.
        line: line of the page on which the content starts, from 1.
        content: what is between the fences.
        file: the file that it is, where the line above begins with its name, as in "`study.toml`:".
    """

    language: str
    line: int
    content: str
    file: str = ""


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page."""
    fences = re.finditer(r"(?:^`(\w+\.\w+)`[^\n]*:\n\n)?^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [Block(each[2], page[: each.start(3)].count("\n") + 1, each[3], each[1] or "") for each in fences]


def run_python(path: Path) -> int:
    """Run the ```python blocks of a page in order, in one namespace, and compare what they print.

    A ```text block right behind a ```python block is what that one must print; without it, it must print nothing.
    Blocks that are files are written to the current folder, where they are met. Lines of ```sh blocks are commands,
    which run in this process; only where a ```text block is right behind, what they print is compared.

    Returns:
        The number of blocks that ran.

    Raises:
        AssertionError: if a block prints something else; what a block raises goes through, with the page's lines.
    """
    found, module, ran = blocks(path.read_text()), ModuleType("page"), 0
    sys.modules["page"] = module  # where dataclasses look up what their annotations name
    for block, after in zip(found, [*found[1:], Block("", 0, "")], strict=True):
        if block.file:
            Path(block.file).write_text(block.content)
        if block.language not in ("python", "sh"):
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            if block.language == "python":
                exec(compile("\n" * (block.line - 1) + block.content, str(path), "exec"), vars(module))
            else:
                command(block.content)
        expected = after.content if after.language == "text" else ""
        if expected or block.language == "python":
            assert printed.getvalue() == expected, f"{path}, line {block.line}: printed\n{printed.getvalue()}"
        ran += 1
    return ran


def command(lines: str) -> None:
    """Run lines that begin with ``seqmatch``."""
    from harness.cli import main

    for line in lines.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program == "seqmatch", line
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [program, *arguments])
            code: object = 0
            try:
                main()
            except SystemExit as stop:
                code = stop.code
            assert not code, line


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
