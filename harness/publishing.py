"""A run without its bulk: the tables, the resolved study, what computed them, and the page; small enough to commit.

``compare``, ``gate``, ``reproduce`` and ``load_results`` read a publication like a results folder. It lacks
generations, learning curves and policies: some are on its page, and running the study brings all of them back.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import RequestError, StoreError
from harness.leaderboard.page import write_leaderboard
from harness.leaderboard.reading import Tables, read_tables
from harness.mirror import MEASURED
from harness.places import mirror_at, opened
from harness.published import PROVENANCE, is_published
from harness.store import Store
from harness.writing import SCRATCH, move_into_place, writing

SAMPLES = 2
"""Generations of every trial and decoder on the page."""
_ELSEWHERE = ("specification", "files", "traceback")


def publish(folder: str | Path, to: str | Path) -> list[Path]:
    """Write the publication of a results folder.

    Args:
        folder: results of a run, or its URL, all of whose trials are finished.
        to: folder of the publication, which appears whole or not at all; an older publication there is replaced.

    Returns:
        Its files.

    Raises:
        RequestError: if ``to`` is a URL.
        StoreError: if there is no run, a trial is not finished or is not what the study specifies, a file is damaged,
            or ``to`` cannot be written or holds something else than a publication.
    """
    if mirror_at(to):
        raise RequestError(f"{to} is a URL: publish to a folder, and copy that")
    store, place, provenance = Store(opened(folder)), Path(to), dict[str, dict[str, Any]]()
    store.specified()
    for entry, record in store.records():
        if record is None or record["status"] != "finished":
            raise StoreError(f"trial {entry['label']} of {folder} is not finished: run the study again")
        if record["identity"] != entry["identity"]:
            raise StoreError(f"trial {entry['label']} of {folder} is not that of its study.json: run the study again")
        provenance[entry["label"]] = {name: value for name, value in record.items() if name not in _ELSEWHERE}
    if place.exists() and not is_published(place) and not (place.is_dir() and not any(place.iterdir())):
        raise StoreError(f"{place} is a run or holds something else: publish to another folder")
    tables, measured = read_tables(store), _measured(store)
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=SCRATCH, ignore_cleanup_errors=True) as folder_of_all:
            scratch = Path(folder_of_all) / "new"
            scratch.mkdir()
            _write(scratch, store, tables, provenance)
            for path in measured:
                shutil.copyfile(path, scratch / path.name)
            move_into_place(scratch, place)
    return sorted(place.iterdir())


def _measured(store: Store) -> list[Path]:
    """The tables of ``seqmatch measure`` beside the results, all of them of all of these trials of their tasks."""
    paths = sorted(store.out.glob(MEASURED))
    trials = store.specified()
    for path in paths:
        table = pd.read_parquet(path)
        if "trial" not in table:
            continue
        tasks = set(table["task"])
        if set(table["trial"]) != {trial.identity for trial in trials if trial.task.name in tasks}:
            raise StoreError(f"{path} is not of the trials of this run: run seqmatch measure again, or remove it")
    return paths


def _write(to: Path, store: Store, tables: Tables, provenance: dict[str, dict[str, Any]]) -> None:
    write_leaderboard(store, tables, to / "leaderboard.html", to / "leaderboard.md", SAMPLES)
    for name, table in {"results": tables.results, "evaluations": tables.evaluations}.items():
        table.to_parquet(to / f"{name}.parquet")
    packed = {"method": "gzip", "mtime": 0}  # a tenth of the size, and the same bytes for the same table
    tables.results.to_csv(to / "results.csv.gz", index=False, compression=packed)
    if tables.verdicts is not None:
        tables.verdicts.to_csv(to / "verdicts.csv", index=False)
    shutil.copyfile(store.out / "study.json", to / "study.json")
    (to / PROVENANCE).write_text(json.dumps(provenance, indent=1))
