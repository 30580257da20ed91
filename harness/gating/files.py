"""Writes what a gate found where a CI system looks for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from harness.gating.junit import junit
from harness.gating.tables import markdown
from harness.writing import write_file, writing

if TYPE_CHECKING:
    from harness.gate import GateReport


def write_reports(report: GateReport, junit_file: Path | None, markdown_file: Path | None) -> None:
    """Write a report as JUnit XML and as markdown, and make the folders for them.

    An older file is replaced. Only the file that GitHub shows as the summary of a job, which other steps write to as
    well, is added to.

    Raises:
        StoreError: if a file cannot be written.
    """
    if junit_file:
        _write(junit_file, junit(report))
    if markdown_file:
        text = markdown(report).encode()
        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        if summary and markdown_file.resolve() == Path(summary).resolve():
            with writing(markdown_file), markdown_file.open("ab") as file:
                file.write(text)
        else:
            _write(markdown_file, text)


def _write(path: Path, content: bytes) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, lambda scratch: scratch.write_bytes(content))
