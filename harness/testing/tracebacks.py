"""What went wrong in the trials of a study that a check has run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path


def last_lines(folder: Path) -> Iterator[str]:
    """The last line of the traceback of each failed trial in a results folder."""
    for path in folder.rglob("trial.json"):
        if traceback := json.loads(path.read_text()).get("traceback"):
            yield traceback.strip().splitlines()[-1]
