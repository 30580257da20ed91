"""A metric computed again from the stored generations of a results folder, without training."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from harness.errors import RequestError, StoreError, StudyError, suggestion
from harness.execution import isolated
from harness.joint_measuring import System, differences_table, measure_jointly
from harness.measuring import lacks, long_rows, measure, omission
from harness.places import opened
from harness.preparation import Prepared, instance
from harness.progress import Reporter, display, quiet
from harness.provenance import source_digest
from harness.registry import METRICS
from harness.store import Store
from harness.stored import load_policy, prepared_again, stored_generations
from harness.study import apply_override
from harness.tables import CLOCKS, long_table
from harness.trial import Component, Trial, component
from harness.validation import Key, build
from metrics.base import Metric, MetricError
from metrics.joint import JointMetric

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.05
"""An adjusted p-value that permutations should be able to reach."""


@dataclass(frozen=True)
class Remeasured:
    """What came of measuring again.

    Attributes:
        table: the long table. Trials without results have the rows of ``Store.results``; a trial and decoder for which
            the metric reports nothing has a row without a number.
        path: where it was written; settings by task and the digest of the source code are in the file's ``attrs``.
        differences: of pairs of systems, with the columns of ``harness.joint_measuring.COLUMNS``; None where the metric
            measures each by itself.
        differences_path: where they were written.
        notes: what was left out, and why.
    """

    table: pd.DataFrame
    path: Path
    differences: pd.DataFrame | None
    differences_path: Path | None
    notes: tuple[str, ...]


def remeasure(
    out: str | Path,
    name: str,
    overrides: Sequence[str] = (),
    trainers: Sequence[str] = (),
    decoders: Sequence[str] = (),
    tasks: Sequence[str] = (),
) -> Remeasured:
    """Measure the finished trials of a results folder, and write the numbers beside its results.

    A metric has the settings that the study gave it, where it has any. Tasks that lack what a metric needs of them are
    left out. A metric that can compare systems measures all finished trials of a task and seed together.

    Args:
        out: results folder, or its URL.
        name: of a metric of the study, or as registered, or ``path/to/file.py:Class``.
        overrides: settings of the metric, see ``apply_override``.
        trainers: whose trials are measured, and compared if the metric can compare; none: all. The others have rows
            without a number.
        decoders: likewise.
        tasks: that are measured; none: all. The others are left out.

    Raises:
        RequestError: if the results have no trainer, decoder or task of a name.
        StoreError: if the folder is no results folder or damaged, or holds no policy where the metric needs it.
        StudyError: if the metric or a setting is unknown, or cannot be measured on what the trials wrote.
    """
    store = Store(opened(out))
    trials, results = store.specified(), store.results()
    for kind, names in (("trainer", trainers), ("decoder", decoders), ("task", tasks)):
        for each in names:
            if each not in (known := list(results[kind].unique())):
                raise RequestError(f"{store.place} has no {kind} {each!r}{suggestion(each, known)}")
    components = _components(trials, name, overrides)
    metrics = {task: instance(METRICS, components[task]) for task in tasks or components}
    trials, results = [trial for trial in trials if trial.task.name in metrics], results[results["task"].isin(metrics)]
    finished = set(results.loc[results["status"] == "finished", "trial"])
    pending = [trial for trial in trials if trial.identity in finished]
    if not pending:
        raise StoreError(f"no trial of {store.place} is finished: run the study again")
    groups = _groups(pending, metrics)
    rows, differences, notes = list[dict[str, Any]](), list[dict[str, Any]](), dict[str, None]()
    with display(len(groups), 0) as shown, quiet():

        def note(text: str) -> None:
            if text not in notes:
                notes[text] = None
                shown.note(text)

        remeasurer = _Remeasurer(store, name, results, note, frozenset(trainers), frozenset(decoders))
        skipped = remeasurer.check(
            [trial for trial in pending if not trainers or trial.trainer.name in trainers], metrics
        )
        for label, group in groups.items():
            if group[0].task.name not in skipped:
                reporter, started = Reporter(label, shown.show), time.monotonic()
                reporter.start()
                found, compared = remeasurer.measure(label, group, metrics[group[0].task.name], reporter)
                rows += found
                differences += compared
                reporter.end("measured", time.monotonic() - started)
    used = {task: metric for task, metric in metrics.items() if task not in skipped}
    settings = {task: components[task].settings for task in used}
    table = _in_order(trials, [results[~results["trial"].isin(finished)], long_table(rows)])
    table.attrs = {"metric": name, "settings": settings, "source": source_digest()}
    file = _file_name(name)
    if not any(map(_compares, used.values())):
        return Remeasured(table, store.write_measured(file, table), None, None, tuple(notes))
    pairs = differences_table(differences)
    pairs.attrs = table.attrs
    path = store.write_measured(file, table, pairs)
    return Remeasured(table, path, pairs, store.differences_path(file), tuple(notes))


def _file_name(metric: str) -> str:
    """What the tables of a metric are called: ``counts-Words`` for ``metrics/counts.py:Words``."""
    path, _, cls = metric.rpartition(":")
    return f"{Path(path).stem}-{cls}" if path else metric.replace("/", "-")


def _components(trials: Sequence[Trial], name: str, overrides: Sequence[str]) -> dict[str, Component]:
    """The metric with its settings, by task: the task's own, else those of another task of the study, else defaults."""
    own = {trial.task.name: metric for trial in trials for metric in trial.metrics if metric.name == name}
    others = {metric.name for trial in trials for metric in trial.metrics}
    components = {}
    for task in dict.fromkeys(trial.task.name for trial in trials):
        known = own.get(task) or next(iter(own.values()), None)
        use, settings = (known.use, copy.deepcopy(known.settings)) if known else (name, {})
        for override in overrides:
            apply_override(settings, override)
        entry = METRICS.entry(use, others)
        found = build(METRICS.load_entry(entry), settings, Key(f"metric {name!r}"))
        components[task] = component(name, entry, found)
    return components


def _compares(metric: Metric) -> TypeGuard[JointMetric]:
    return isinstance(metric, JointMetric) and metric.why_alone() is None


def _groups(trials: Sequence[Trial], metrics: Mapping[str, Metric]) -> dict[str, list[Trial]]:
    """What is measured at once, by a label: a trial, or all of a task and seed where the metric can compare them."""
    groups = dict[str, list[Trial]]()
    for trial in trials:
        together = _compares(metrics[trial.task.name])
        groups.setdefault(f"{trial.task.name}-s{trial.seed}" if together else trial.label, []).append(trial)
    return groups


def _in_order(trials: Sequence[Trial], tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One table, its rows in the order of the trials."""
    import pandas as pd

    places = {trial.identity: place for place, trial in enumerate(trials)}
    table = pd.concat([table for table in tables if len(table)], ignore_index=True)
    return table.sort_values("trial", key=lambda ids: ids.map(places), kind="stable", ignore_index=True)


@dataclass(frozen=True)
class _Remeasurer:
    """Measures trials of a results folder by one metric.

    Attributes:
        store: the folder.
        name: of the metric.
        results: the long table of the folder.
        note: told what is left out.
        trainers, decoders: whose generations are measured; empty: all.
    """

    store: Store
    name: str
    results: pd.DataFrame
    note: Callable[[str], None]
    trainers: frozenset[str]
    decoders: frozenset[str]

    def check(self, trials: Sequence[Trial], metrics: Mapping[str, Metric]) -> dict[str, str]:
        """Find, before anything is measured, what cannot be; return the tasks that the metric is not for, and why."""
        skipped = dict[str, str]()
        for trial in trials:
            task, metric, prepared = trial.task.name, metrics[trial.task.name], prepared_again(trial)
            lacking, there = lacks(prepared.task, metric), len(prepared.judged)
            if not lacking and there < metric.minimum_n:
                lacking = f"at least {metric.minimum_n} {prepared.split} examples, and there are {there}"
            if lacking:
                skipped[task] = f"task {task} is left out: metric {self.name!r} needs {lacking}"
                self.note(skipped[task])
                continue
            if "policy" in metric.needs and self.store.policy(trial) is None:
                raise StoreError(
                    f"metric {self.name!r} needs the policy of {trial.label}, which was not saved: "
                    "run the study again with save_policies = true"
                )
            if left_out := omission(prepared, metric):
                self.note(f"task {task}: metric {self.name!r} reports {left_out}")
            if isinstance(metric, JointMetric) and (reason := metric.why_alone()):
                self.note(f"task {task}: every trial is measured by itself: {reason}")
        if skipped.keys() >= {trial.task.name for trial in trials}:
            reasons = "; ".join(skipped.values())
            raise StudyError(f"no finished trial of {self.store.place} has what the metric needs: {reasons}")
        return skipped

    def measure(
        self, label: str, group: Sequence[Trial], metric: Metric, reporter: Reporter
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows of the long table, and of that of differences, of trials that are measured at once."""
        prepared, differences = prepared_again(group[0]), list[dict[str, Any]]()
        with isolated(group[0]):
            systems = [
                System(trial, decoder, generations)
                for trial in group
                for decoder, generations in stored_generations(trial, self.store, prepared).items()
            ]
            wanted = [self._wants(system) for system in systems]
            chosen, values = list(compress(systems, wanted)), list[list[dict[str, Any]]]()
            try:
                if _compares(metric) and chosen:
                    reporter.phase(f"metric {self.name}")
                    values, differences = measure_jointly(chosen, prepared, self.name, metric)
                    self._note_floor(group[0].task.name, len(differences), metric.permutations)
                elif chosen:
                    values = self._one_by_one(chosen, prepared, metric, reporter)
            except MetricError as error:
                raise StudyError(f"{label}: metric {self.name!r}: {error}") from error
        rows, measured = [], iter(values)
        for system, is_wanted in zip(systems, wanted, strict=True):
            found = next(measured) if is_wanted else []
            if is_wanted and not found:
                self.note(f"{system.label}: metric {self.name!r} reports no number")
            spent = self.results[self.results["trial"] == system.trial.identity].iloc[0]
            clocks = {clock: spent[clock] for clock in CLOCKS}
            rows += long_rows(system.trial, system.decoder, found, len(system.generations), clocks)
        return rows, differences

    def _wants(self, system: System) -> bool:
        of_trainer = not self.trainers or system.trial.trainer.name in self.trainers
        return of_trainer and (not self.decoders or system.decoder in self.decoders)

    def _one_by_one(
        self, systems: Sequence[System], prepared: Prepared, metric: Metric, reporter: Reporter
    ) -> list[list[dict[str, Any]]]:
        """Numbers of one trial under each of its decoders."""
        from trainers.decoding import Decoder

        trial, values = systems[0].trial, list[list[dict[str, Any]]]()
        folder = self.store.policy(trial) if "policy" in metric.needs else None
        policy = load_policy(folder) if folder else None
        for system in systems:
            decoder = build(Decoder, trial.decoders[system.decoder], Key(f"decoder {system.decoder!r}"))
            if metric.follows_decoder and not decoder.has_distribution:
                self.note(f"{system.label}: this decoder has no distribution over actions to compute with")
                values.append([])
            else:
                metrics = {self.name: metric}
                values.append(measure(trial, prepared, policy, decoder, system.generations, metrics, reporter))
        return values

    def _note_floor(self, task: str, pairs: int, permutations: int) -> None:
        """Say where so few permutations cannot give a small adjusted p to any of so many pairs."""
        floor = pairs / (permutations + 1)
        if floor > LEVEL:
            self.note(
                f"task {task}: no p_holm of {pairs} pairs is below {min(1.0, floor):.3g} with {permutations} "
                f"permutations: measure again with --set permutations={100 * pairs - 1}"
            )
