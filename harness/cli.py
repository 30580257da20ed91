"""The command ``seqmatch``.

Exit codes: 0 all is well, 1 a trial failed or is missing, a metric is wrong, a plug-in does not conform or a gate found
a regression, 2 the request cannot be carried out, 3 a gate could not decide, 130 interrupted.
"""

from __future__ import annotations

import enum
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.errors import HarnessError
from harness.testing.battery import Tier

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

    from harness.registry import Registry

app = typer.Typer(
    name="seqmatch",
    help="Compare how language models are trained to generate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Kind(enum.StrEnum):
    """What ``list`` lists."""

    TRAINERS = "trainers"
    TASKS = "tasks"
    METRICS = "metrics"
    STUDIES = "studies"


class PluginKind(enum.StrEnum):
    """What can be plugged in."""

    TRAINER = "trainer"
    TASK = "task"
    METRIC = "metric"


class EngineName(enum.StrEnum):
    """Where ``run`` runs trials."""

    LOCAL = "local"
    RAY = "ray"


@app.command()
def run(
    study: Annotated[str, typer.Argument(help="A bundled study by name, or a TOML file.")],
    out: Annotated[
        str | None, typer.Option(metavar="PLACE", help="Results folder, or its URL; results/NAME if not given.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes of this machine; without them trials run in this one.")
    ] = None,
    engine: Annotated[EngineName, typer.Option(help="Where trials run: on this machine, or on a Ray cluster.")] = (
        EngineName.LOCAL
    ),
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Of the cluster, HOST:PORT or auto; RAY_ADDRESS, or one on this machine, without."
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the study, a.b=c.")
    ] = None,
    trainers: Annotated[
        list[str] | None, typer.Option("--trainer", metavar="NAME", help="Only this trainer; may be repeated.")
    ] = None,
    tasks: Annotated[
        list[str] | None, typer.Option("--task", metavar="NAME", help="Only this task; may be repeated.")
    ] = None,
    report_to: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Report while trials run: tensorboard, trackio, wandb; may be repeated."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the study and print its trials.")] = False,
    cost: Annotated[
        bool, typer.Option("--plan", help="Print what the study would cost: tokens, FLOPs, memory and hours.")
    ] = False,
    flops_per_second: Annotated[
        float | None, typer.Option(min=1, help="With --plan: hours on a device that reaches this, not an H100.")
    ] = None,
) -> None:
    """Run the trials of a study that are not finished yet, and print the leaderboard."""
    from harness.engine import run_plan
    from harness.engines.choice import choose
    from harness.expansion import plan
    from harness.launch import launch
    from harness.store import Store

    if flops_per_second is not None and not cost:
        raise HarnessError("--flops-per-second: only a plan has hours to work out: add --plan")
    planned = plan(study, overrides or ()).only(trainers or (), tasks or ())
    if dry_run:
        from harness.overview import overview

        sys.stdout.write(overview(planned))
    if cost:
        from harness.costing.devices import device
        from harness.costing.page import costs

        sys.stdout.write(costs(planned, device(flops_per_second)))
    if dry_run or cost:
        return
    out = out or str(Path("results") / planned.study.name)
    chosen = choose(engine.value, workers, ray_address)
    try:
        results = run_plan(planned, out, chosen, report_to or ())
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; finished trials are kept, run again to go on\n")
        raise typer.Exit(130) from None
    together = launch()
    if together and not together.leads:
        return
    store = Store.at(out)
    _show(results, store.study()["headlines"])
    times = ", ".join(f"{phase} {seconds:.0f} s" for phase, seconds in store.timings().items())
    page = f"seqmatch leaderboard {shlex.quote(out)}"
    sys.stdout.write(f"Time over all trials: {times}.\nResults are in {out}; as a page: {page}\n")
    if (results["status"] != "finished").any():
        raise typer.Exit(1)


@app.command("list")
def list_names(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    numbers: Annotated[
        bool, typer.Option("--numbers", help="Of metrics: every number, its direction, range, unit and needs.")
    ] = False,
    broken: Annotated[
        bool, typer.Option("--broken", help="Import every plug-in and list those that cannot be used, and why.")
    ] = False,
) -> None:
    """List what is registered, and where it comes from; without options nothing is imported.

    With --broken the exit code is 1 if there is a broken one.
    """
    from rich.table import Table

    from harness.broken import broken as broken_of
    from harness.broken import warn_of_malformed
    from harness.registry import METRICS, TASKS, TRAINERS
    from harness.study import bundled_studies, read_toml

    if numbers and kind is not Kind.METRICS:
        raise HarnessError("--numbers: only metrics report numbers: seqmatch list metrics --numbers")
    if broken and (numbers or kind is Kind.STUDIES):
        raise HarnessError("--broken: only plug-ins can be broken: seqmatch list trainers --broken, or tasks, metrics")
    if kind is Kind.STUDIES:
        table = Table("name", "description")
        for name, path in bundled_studies().items():
            table.add_row(name, read_toml(path).get("description", ""))
        _print(table)
        return
    registries: dict[Kind, Registry[Any]] = {Kind.TRAINERS: TRAINERS, Kind.TASKS: TASKS, Kind.METRICS: METRICS}
    registry = registries[kind]
    if broken:
        found = broken_of(registry)
        if found is None:
            sys.stdout.write(f"None of {len(registry.listing())} {kind} is broken.\n")
            return
        _print(found)
        raise typer.Exit(1)
    warn_of_malformed(registry)
    if numbers:
        from harness import declarations

        sys.stdout.write(declarations.numbers())
        return
    table = Table("name", "class", "from")
    for name, entry in registry.listing().items():
        table.add_row(name, entry.target, entry.origin)
    _print(table)


@app.command()
def leaderboard(
    folder: Annotated[str, typer.Argument(help="Results folder of a run, or its URL.")],
    out: Annotated[Path | None, typer.Option(help="The page; leaderboard.html in the folder if not given.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables as markdown too, to this file.")] = None,
    samples: Annotated[
        int, typer.Option(min=0, help="Generations of every trial on the page; 0 leaves out all texts.")
    ] = 20,
    baseline: Annotated[
        str | None, typer.Option(help="Trainer to compare with; mle if there is one, else the first.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="CLOCK=AMOUNT", help="Read it at an equal budget, for example tokens=1e6.")
    ] = None,
) -> None:
    """Print the leaderboard of a results folder, and write it as one HTML file that opens from disk."""
    from harness.leaderboard.page import write_leaderboard
    from harness.leaderboard.reading import read_tables
    from harness.places import opened
    from harness.store import Store

    store = Store(opened(folder))
    page = out or store.out / "leaderboard.html"
    tables = read_tables(store, baseline, at)
    write_leaderboard(store, tables, page, markdown, samples)
    beside = None if out else store.push(page)
    _show(tables.results, store.study()["headlines"])
    for line in filter(None, (tables.note, f"The page is {page}.", beside and f"It is {beside} too.")):
        sys.stdout.write(f"{line}\n")


@app.command()
def compare(
    source: Annotated[str, typer.Argument(help="Results folder of a run, or a long table (.parquet or .csv).")],
    baseline: Annotated[
        str | None, typer.Option(help="Trainer to compare with; mle if there is one, else the first.")
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="A number to compare, or all; the headlines if not given."),
    ] = None,
    alpha: Annotated[float, typer.Option(help="Level of the verdicts.")] = 0.05,
    at: Annotated[
        str | None, typer.Option(metavar="CLOCK=AMOUNT", help="Compare at an equal budget, for example tokens=1e6.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write it too: a .csv, .parquet or .md file.")] = None,
) -> None:
    """Compare every trainer with a baseline, paired by training seed."""
    from harness import verdicts

    if out:
        verdicts.check_suffix(out)
    report = verdicts.judge(source, baseline, metrics or (), alpha, at)
    _print(report.layout())
    if out:
        report.write(out)
    if any(report.absent.values()):
        raise typer.Exit(1)


@app.command()
def reproduce(
    trial: Annotated[str, typer.Argument(help="Label of a trial, or how its label or identity begins.")],
    results: Annotated[
        str, typer.Option(metavar="PLACE", help="The run that it is in, or its URL, or a publication.")
    ] = "results/reference/main",
    tolerance: Annotated[float, typer.Option(help="Relative difference that counts as close.")] = 0.05,
) -> None:
    """Run one trial again and compare its numbers with those on record: exit code 1 if one is different."""
    from harness import reproduction

    found = reproduction.reproduce(results, trial, tolerance)
    _print(reproduction.layout(found))
    if found.closeness is reproduction.Closeness.DIFFERENT:
        raise typer.Exit(1)


@app.command()
def publish(
    folder: Annotated[str, typer.Argument(help="Results folder of a run that is finished, or its URL.")],
    to: Annotated[str, typer.Argument(help="Folder of the publication.")],
) -> None:
    """Write the tables, provenance and page of a run without its bulk, small enough to commit."""
    from harness.publishing import publish

    for path in publish(folder, to):
        sys.stdout.write(f"{path}\n")


@app.command()
def measure(
    folder: Annotated[str, typer.Argument(help="Results folder of a run, or its URL.")],
    metric: Annotated[str, typer.Option(help="A metric by name, or path/to/file.py:Class.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting of the metric, a.b=c.")
    ] = None,
    trainers: Annotated[
        list[str] | None, typer.Option("--trainer", metavar="NAME", help="Only this trainer; may be repeated.")
    ] = None,
    decoders: Annotated[
        list[str] | None, typer.Option("--decoder", metavar="NAME", help="Only this decoder; may be repeated.")
    ] = None,
    tasks: Annotated[
        list[str] | None, typer.Option("--task", metavar="NAME", help="Only this task; may be repeated.")
    ] = None,
) -> None:
    """Measure the finished trials of a results folder again, from their stored generations."""
    from harness.leaderboard.differences import differences
    from harness.places import place_of
    from harness.remeasuring import remeasure

    found = remeasure(folder, metric, overrides or (), trainers or (), decoders or (), tasks or ())
    _show(found.table, None)
    if found.differences is not None:
        _print(differences(found.differences))
    for note in found.notes:
        sys.stdout.write(f"{note}\n")
    sys.stdout.write(f"Values are in {place_of(found.path)}.\n")
    if found.differences_path is not None:
        sys.stdout.write(f"Differences are in {place_of(found.differences_path)}.\n")
    if (found.table["status"] != "finished").any():
        raise typer.Exit(1)


@app.command("gate")
def judge(
    folder: Annotated[str, typer.Argument(help="Results of the candidate: a folder, or its results.parquet or .csv.")],
    baseline: Annotated[str, typer.Option(help="Results of the baseline, likewise.")],
    margins: Annotated[
        list[str] | None,
        typer.Option("--margin", metavar="METRIC=VALUE", help="What may be lost: 0.02, or 5% of the baseline's mean."),
    ] = None,
    trainers: Annotated[list[str] | None, typer.Option("--trainer", metavar="NAME", help="Only this trainer.")] = None,
    tasks: Annotated[list[str] | None, typer.Option("--task", metavar="NAME", help="Only this task.")] = None,
    seeds: Annotated[list[int] | None, typer.Option("--seed", metavar="SEED", help="Only this seed.")] = None,
    level: Annotated[float, typer.Option(help="Confidence of each one-sided bound.")] = 0.95,
    junit: Annotated[Path | None, typer.Option(metavar="FILE.xml", help="Write JUnit XML too.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Write markdown too; $GITHUB_STEP_SUMMARY is added to.")
    ] = None,
) -> None:
    """Judge whether results are worse than a baseline's: exit code 0 ok, 1 regressed, 3 inconclusive.

    Options in the singular may be repeated. Seeds are paired; every number with a margin must pass.
    """
    from harness.gate import gate
    from harness.gating.files import write_reports
    from harness.gating.margins import split_margins
    from harness.gating.tables import layout

    report = gate(
        folder,
        baseline,
        split_margins(margins or ()),
        trainers=trainers or (),
        tasks=tasks or (),
        seeds=seeds or (),
        level=level,
    )
    _print(layout(report))
    write_reports(report, junit, markdown)
    raise typer.Exit(report.exit_code)


@app.command()
def doctor(
    metrics: Annotated[
        list[str] | None, typer.Option("--metric", metavar="NAME", help="Only this metric; may be repeated.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="Also MAUVE between random halves of your own features, an n x d .npy file.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the table too: a .csv or .parquet file.")] = None,
) -> None:
    """Check on this machine that every metric gives its known answers."""
    from harness import doctor
    from harness.broken import warn_of_malformed
    from harness.registry import METRICS

    if out:
        doctor.check_suffix(out)
    warn_of_malformed(METRICS)
    table = doctor.examine(metrics or ())
    if features:
        table = doctor.with_features(table, features)
    _print(doctor.layout(table))
    if out:
        doctor.write(table, out)
    if (table["verdict"] == doctor.FAILS).any():
        raise typer.Exit(1)


@app.command()
def new(
    kind: Annotated[PluginKind, typer.Argument(help="What the package is to register.")],
    name: Annotated[str, typer.Argument(help="The name that studies will use.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder to make; seqmatch-NAME if not given.")
    ] = None,
) -> None:
    """Write a package with a trainer, task or metric that works, its tests and a study, to be made your own."""
    from harness.scaffold import write_package

    package, folder = write_package(kind, name, out)
    sys.stdout.write(
        f"{folder} has the {kind} {name!r}, in {package.source}. Next:\n"
        f"  cd {shlex.quote(str(folder))} && pip install -e .\n"
        "  seqmatch run study.toml\n"
        f"  seqmatch check {kind} {name}\n"
    )


@app.command("check")
def check_plugin(
    kind: Annotated[PluginKind, typer.Argument(help="What to check.")],
    name: Annotated[str, typer.Argument(help="As registered, or path/to/file.py:Class.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the plug-in, a.b=c.")
    ] = None,
    tier: Annotated[Tier, typer.Option(help="How much to check.")] = Tier.QUICK,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Check that a trainer, task or metric behaves: exit code 0 it conforms, 1 it does not."""
    import json

    from harness.study import apply_override
    from harness.testing.running import run_checks

    settings = dict[str, object]()
    for override in overrides or ():
        apply_override(settings, override)
    report = run_checks(kind, name, settings, tier)
    if as_json:
        sys.stdout.write(f"{json.dumps(report.to_json(), indent=1)}\n")
    else:
        _print(report.layout())
        sys.stdout.write(f"{report.summary}\n")
    if not report.passed:
        raise typer.Exit(1)


@app.command()
def assets() -> None:
    """Fetch the models and texts that the bundled studies use."""
    from harness.assets import fetch

    sys.stdout.write(f"{fetch()}\n")


def main() -> None:
    """Run the command; what a user can mend is one line on standard error and exit code 2."""
    try:
        app()
    except HarnessError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None


def _show(results: pd.DataFrame, headlines: Mapping[str, Sequence[str]] | None) -> None:
    from harness.leaderboard.table import leaderboard

    _print(leaderboard(results, headlines))


def _print(tables: RenderableType) -> None:
    """Print tables without wrapping: plain text where they do not fit."""
    from rich.console import Console

    from harness.leaderboard.plain import as_text

    text, console = as_text(tables), Console()
    if console.is_terminal and max(map(len, text.splitlines())) <= console.width:
        console.print(tables)
    else:
        sys.stdout.write(text)
