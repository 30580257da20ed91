"""The leaderboard as one HTML file that opens from disk, from tables alone.

The page asks no network and no other file for anything, and a content security policy forbids it to: only the script
and the style sheet whose digests are named in it count. Every text is escaped, in the markup by jinja2 and in the
embedded JSON by its ``tojson``.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.leaderboard.cells import TaskTable, task_tables
from harness.leaderboard.charts import AXES, Chart, learning_charts, read_curves, series_charts
from harness.leaderboard.figures import classes, svg
from harness.leaderboard.marks import MARKS
from harness.leaderboard.reading import Tables
from harness.leaderboard.records import Records, read_records
from harness.leaderboard.samples import as_json, audits, read_groups
from harness.leaderboard.views import Cells, row_views, summary, undecided, verdict_lines

if TYPE_CHECKING:
    import pandas as pd

    from harness.store import Store

SAMPLES = 20
"""Generations of every trial and decoder that a page holds unless told otherwise."""
_SCRIPTS = ("vendor/sortable.min.js", "page.js", "provenance.js", "samples.js")


def render_page(store: Store, tables: Tables, samples: int = SAMPLES) -> str:
    """The page of a results folder.

    Args:
        store: results folder.
        tables: its numbers.
        samples: generations of every trial and decoder; 0 leaves out all texts.

    Raises:
        StoreError: if there is no study, or a file is damaged.
    """
    study, records = store.study(), read_records(store)
    groups = read_groups(store, samples)
    laid = task_tables(tables.results, study["headlines"], tables.verdicts)
    cells = Cells({trial["identity"]: index for index, trial in enumerate(records.trials)})
    curves = read_curves(store)
    found = audits(groups)
    tasks = []
    for index, table in enumerate(laid):
        view = _task(table, tables, curves, cells)
        mine = [each for each in found if each.task == table.task]
        tasks.append({"id": f"task-{index}", **view, "audits": mine})
    script, style = _script(), _read("page.css")
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            study=study["study"],
            facts=_facts(records, laid),
            budget=tables.note,
            tasks=tasks,
            axes=AXES,
            verdict_order=tuple(MARKS),
            compared=tables.verdicts is not None,
            absent=records.absent,
            absent_summary=_absent_summary(records),
            trials=records.trials,
            has_samples=bool(groups),
            count=samples,
            data={
                "trials": records.trials,
                "parts": records.parts,
                "rows": cells.rows,
                "cells": cells.items,
                "samples": as_json(groups),
            },
            script=Markup(script),
            style=Markup(style),
            script_hash=_digest(script),
            style_hash=_digest(style),
        )
    )


def _task(table: TaskTable, tables: Tables, curves: pd.DataFrame, cells: Cells) -> dict[str, Any]:
    trainers = list(dict.fromkeys(row.trainer for row in table.rows))
    decoders = list(dict.fromkeys(row.decoder for row in table.rows))
    headlines = [column.metric for column in table.columns if column.headline]
    arrows = {column.metric: column.arrow for column in table.columns}
    axes = trainers, decoders
    evaluated, losses, series = (
        each[each["task"] == table.task] for each in (tables.evaluations, curves, tables.series)
    )
    learning = learning_charts(evaluated, headlines, *axes) + learning_charts(losses, ["training loss"], *axes)
    names, lines = verdict_lines(table)
    return {
        "name": table.task,
        "summary": summary(table),
        "columns": table.columns,
        "several_decoders": len(decoders) > 1,
        "rows": row_views(table, cells),
        "baseline": table.baseline,
        "verdicts": lines,
        "verdict_names": names,
        "needed": undecided(table),
        "legend": _legend(trainers, decoders),
        "learning": [[_drawn(chart, arrows) for chart in plots] for plots in learning],
        "series": [_drawn(chart, arrows) for chart in series_charts(series, tables.labels, *axes)],
    }


def _drawn(chart: Chart, arrows: Mapping[str, str]) -> dict[str, Any]:
    return {
        "title": chart.title,
        "y": chart.y,
        "axis": chart.axis,
        "arrow": arrows.get(chart.title, ""),
        "logarithmic": chart.logarithmic,
        "svg": svg(chart),
    }


def _legend(trainers: Sequence[str], decoders: Sequence[str]) -> list[tuple[str, str]]:
    """Classes and names of the curves of a task: a colour per trainer, a dash per decoder."""
    return [
        (classes(color, dash), f"{trainer}, {decoder}" if len(decoders) > 1 else trainer)
        for color, trainer in enumerate(trainers)
        for dash, decoder in enumerate(decoders)
    ]


def _facts(records: Records, tables: Sequence[TaskTable]) -> str:
    finished = sum(trial["status"] == "finished" for trial in records.trials)
    seeds = len({trial["seed"] for trial in records.trials})
    baselines = sorted({table.baseline for table in tables if table.baseline})
    facts = [
        f"{finished} of {len(records.trials)} trials finished",
        f"{seeds} matched seed{'s' if seeds != 1 else ''}",
        *([f"compared with {', '.join(baselines)}"] if baselines else []),
    ]
    return " · ".join(facts)


def _absent_summary(records: Records) -> str:
    counts = {status: sum(each.status == status for each in records.absent) for status in ("failed", "missing")}
    parts = [f"{count} trial{'s' if count != 1 else ''} {status}" for status, count in counts.items() if count]
    return f"{' and '.join(parts)}." if parts else ""


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("harness.leaderboard", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["marks"] = MARKS
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":")}
    return environment


def _read(name: str) -> str:
    return resources.files("harness.leaderboard").joinpath("page", name).read_text(encoding="utf-8")


def _script() -> str:
    return "\n".join(_read(name) for name in _SCRIPTS)


def _digest(text: str) -> str:
    """The digest by which a content security policy names an inline script or style sheet."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _write(path: Path, text: str) -> int:
    return path.write_text(text, encoding="utf-8")


def write_leaderboard(
    store: Store, tables: Tables, page: Path, markdown: Path | None = None, samples: int = SAMPLES
) -> None:
    """Write the page of a results folder and, if asked, its tables as markdown.

    Args:
        store: results folder.
        tables: its numbers.
        page: HTML file.
        markdown: markdown file.
        samples: generations of every trial and decoder on the page.

    Raises:
        StoreError: if the folder cannot be read, or a file not be written.
        HarnessError: if both files are the same.
    """
    from harness.errors import HarnessError
    from harness.leaderboard.markdown import leaderboard_markdown
    from harness.writing import write_file, writing

    if markdown is not None and markdown.resolve() == page.resolve():
        raise HarnessError(f"{page}: the page and the markdown cannot be the same file")
    texts = {page: render_page(store, tables, samples)}
    if markdown is not None:
        laid = task_tables(tables.results, store.study()["headlines"], tables.verdicts)
        texts[markdown] = leaderboard_markdown(laid, read_records(store).absent, tables.note)
    for path, text in texts.items():
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, partial(_write, text=text))
