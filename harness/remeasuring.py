"""A metric computed again from the stored generations of a results folder, without training."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import StoreError, StudyError
from harness.execution import isolated
from harness.measuring import lacks, long_rows, measure
from harness.preparation import Prepared, instance, prepare
from harness.progress import Display, Reporter, display, quiet
from harness.provenance import source_digest
from harness.registry import METRICS
from harness.store import Store
from harness.study import apply_override
from harness.tables import long_table
from harness.trial import Component, Trial
from harness.validation import Key, build, plain
from metrics.base import MetricError

if TYPE_CHECKING:
    import pandas as pd

    from trainers.policy import Policy

CLOCKS = ("step", "tokens", "generated_tokens", "flops", "seconds")


def remeasure(out: Path, name: str, overrides: Sequence[str] = ()) -> tuple[pd.DataFrame, Path]:
    """Measure the finished trials of a results folder, and write the numbers beside its results.

    A metric has the settings that the study gave it, where it has any. Tasks that lack what
    a metric needs of them are left out.

    Args:
        out: results folder.
        name: of a metric of the study, or as registered, or ``path/to/file.py:Class``.
        overrides: settings of the metric, see ``apply_override``.

    Returns:
        The long table, and where it was written: the settings by task and the digest of the source code are in the
        ``attrs`` of the file. Trials without results have the rows of ``Store.results``.

    Raises:
        StoreError: if the folder is no results folder or damaged, or holds no policy where the metric needs it.
        StudyError: if the metric or a setting is unknown, or cannot be measured on what the trials wrote.
    """
    import pandas as pd

    store = Store(out)
    trials, results = store.specified(), store.results()
    components = _components(trials, name, overrides)
    finished = set(results.loc[results["status"] == "finished", "trial"])
    pending = [trial for trial in trials if trial.identity in finished]
    if not pending:
        raise StoreError(f"no trial of {out} is finished: run the study again")
    with display(len(pending), 0) as shown, quiet():
        skipped = _check(pending, store, components, shown)
        tables = []
        for trial in trials:
            rows = results[results["trial"] == trial.identity]
            if trial not in pending:
                tables.append(rows)
            elif trial.task.name not in skipped:
                tables.append(_measured(trial, store, components[trial.task.name], rows, shown))
    table = pd.concat(tables, ignore_index=True)
    settings = {task: component.settings for task, component in components.items() if task not in skipped}
    table.attrs = {"metric": name, "settings": settings, "source": source_digest()}
    return table, store.write_measured(name.rpartition(":")[2], table)


def _components(trials: Sequence[Trial], name: str, overrides: Sequence[str]) -> dict[str, Component]:
    """The metric with its settings, by task: the task's own, else those of another task of the study, else defaults."""
    own = {trial.task.name: metric for trial in trials for metric in trial.metrics if metric.name == name}
    components = {}
    for task in dict.fromkeys(trial.task.name for trial in trials):
        known = own.get(task) or next(iter(own.values()), None)
        use, settings = (known.use, copy.deepcopy(known.settings)) if known else (name, {})
        for override in overrides:
            apply_override(settings, override)
        entry, cls = METRICS.entry(use), METRICS.load(use)
        settings = plain(build(cls, settings, Key(f"metric {name!r}")))
        components[task] = Component(
            name=name, use=use, settings=settings, distribution=entry.distribution, version=entry.version
        )
    return components


def _check(trials: Sequence[Trial], store: Store, components: Mapping[str, Component], shown: Display) -> set[str]:
    """Find, before anything is measured, what cannot be; return the tasks that the metric is not for."""
    skipped = set[str]()
    for trial in trials:
        name, metric = trial.task.name, components[trial.task.name]
        measured = instance(METRICS, metric)
        if lacking := lacks(_prepared(trial).task, measured):
            if name not in skipped:
                shown.note(f"task {name} is left out: metric {metric.name!r} needs {lacking}")
            skipped.add(name)
        elif "policy" in measured.needs and store.policy(trial) is None:
            raise StoreError(
                f"metric {metric.name!r} needs the policy of {trial.label}, which was not saved: "
                "run the study again with save_policies = true"
            )
    if skipped >= {trial.task.name for trial in trials}:
        raise StudyError(f"no finished trial of {store.out} has what the metric needs")
    return skipped


def _measured(trial: Trial, store: Store, component: Component, results: pd.DataFrame, shown: Display) -> pd.DataFrame:
    from trainers.decoding import Decoder

    reporter, started = Reporter(trial.label, shown.show), time.monotonic()
    reporter.start()
    prepared, generations = _prepared(trial), store.generations(trial)
    metrics = {component.name: instance(METRICS, component)}
    clocks = {name: results[name].iloc[0] for name in CLOCKS}
    rows: list[dict[str, Any]] = []
    with isolated(trial):
        folder = store.policy(trial) if "policy" in metrics[component.name].needs else None
        policy = _load(folder) if folder else None
        for name, settings in trial.decoders.items():
            mine = generations[generations["decoder"] == name]
            _check_examples(trial, store, prepared, mine)
            decoder = build(Decoder, settings, Key(f"decoder {name!r}"))
            try:
                values = measure(trial, prepared, policy, decoder, mine, metrics, reporter)
            except MetricError as error:
                raise StudyError(f"{trial.label}: metric {component.name!r}: {error}") from error
            rows += long_rows(trial, name, values, len(mine), clocks)
    reporter.end("measured", time.monotonic() - started)
    return long_table(rows)


def _prepared(trial: Trial) -> Prepared:
    try:
        return prepare(trial)
    except (OSError, ValueError, ImportError) as error:
        raise StudyError(f"task {trial.task.name!r}: {error}") from error


def _load(folder: Path) -> Policy:
    from trainers.policy import Policy

    try:
        return Policy.load(folder)
    except Exception as error:  # whatever transformers and safetensors raise on damaged files
        advice = f"delete {folder.parent} and run the study again"
        raise StoreError(f"{folder} cannot be read ({error}): {advice}") from error


def _check_examples(trial: Trial, store: Store, prepared: Prepared, generations: pd.DataFrame) -> None:
    """Plug-ins and data may have changed since: references of other examples would give numbers that mean nothing."""
    wrote = list(generations["prompt"]), list(generations["reference"])
    if wrote != (list(prepared.test["prompt"]), list(prepared.test["completion"])):
        raise StoreError(
            f"task {trial.task.name!r} has other test examples now than {trial.label} was tested on: "
            f"delete {store.trials / trial.label} and run the study again"
        )
