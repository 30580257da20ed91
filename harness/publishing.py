"""A run without its bulk: the tables, the resolved study, what computed them, and the page; small enough to commit.

``compare``, ``gate``, ``reproduce`` and ``load_results`` read a publication like a results folder. It lacks
generations, learning curves and policies: some are on its page, and running the study brings all of them back.
"""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.leaderboard.page import write_leaderboard
from harness.leaderboard.reading import read_tables
from harness.places import opened
from harness.published import PROVENANCE
from harness.store import Store
from harness.writing import write_file, writing

SAMPLES = 2
"""Generations of every trial and decoder on the page."""
_ELSEWHERE = ("specification", "files", "traceback")


def publish(folder: str | Path, to: Path, samples: int = SAMPLES) -> list[Path]:
    """Write the publication of a results folder.

    Args:
        folder: results of a run, or its URL, all of whose trials are finished.
        to: folder of the publication; files of an older one are replaced.
        samples: generations of every trial and decoder on its page.

    Returns:
        Its files.

    Raises:
        StoreError: if there is no run, a trial is not finished, a file is damaged, or ``to`` cannot be written or is a
            run itself.
    """
    store, provenance = Store(opened(folder)), dict[str, dict[str, Any]]()
    for entry, record in store.records():
        if record is None or record["status"] != "finished":
            raise StoreError(f"trial {entry['label']} of {folder} is not finished: run the study again")
        provenance[entry["label"]] = {name: value for name, value in record.items() if name not in _ELSEWHERE}
    if Store(to).trials.exists():
        raise StoreError(f"{to} is a run: publish to another folder")
    tables = read_tables(store)
    with writing(to):
        to.mkdir(parents=True, exist_ok=True)
        write_leaderboard(store, tables, to / "leaderboard.html", to / "leaderboard.md", samples)
        for name, table in {"results": tables.results, "evaluations": tables.evaluations}.items():
            write_file(to / f"{name}.parquet", table.to_parquet)
        write_file(to / "results.csv", partial(tables.results.to_csv, index=False))
        if tables.verdicts is not None:
            write_file(to / "verdicts.csv", partial(tables.verdicts.to_csv, index=False))
        write_file(to / "study.json", partial(shutil.copyfile, store.out / "study.json"))
        write_file(to / PROVENANCE, lambda path: path.write_text(json.dumps(provenance, indent=1)))
    return sorted(to.iterdir())
