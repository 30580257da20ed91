"""From a study to its trials: every setting checked, every default filled in, nothing run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.broken import warn_of_malformed
from harness.errors import RegistryError, RequestError, suggestion
from harness.provenance import library_versions
from harness.registry import METRICS, TASKS, TRAINERS, Registry
from harness.study import Resources, Study, home, load_study
from harness.trial import Component, Trial, component
from harness.validation import Key, Table, build, check, plain

if TYPE_CHECKING:
    from metrics.base import Metric
    from trainers.decoding import Decoder

_MODEL_SOURCES = ("fresh", "path", "hub")


@dataclass(frozen=True)
class Plan:
    """A study and its trials, in the order in which they run: by task, then seed, then trainer.

    Attributes:
        study: as written.
        every: its trials, resolved.
        trials: those of them that are to run.
        headlines: names of the numbers that a leaderboard shows, by task.
    """

    study: Study
    every: tuple[Trial, ...]
    trials: tuple[Trial, ...]
    headlines: dict[str, list[str]]

    def only(self, trainers: Sequence[str] = (), tasks: Sequence[str] = ()) -> Plan:
        """To run the trials of some trainers and tasks; an empty list leaves all.

        Raises:
            RequestError: if the study has no trainer or task of a name.
        """
        for names, known in ((trainers, self.study.trainers), (tasks, self.study.tasks)):
            for name in names:
                if name not in known:
                    raise RequestError(f"study {self.study.name!r} has no {name!r}{suggestion(name, known)}")
        wanted = trainers or self.study.trainers, tasks or self.study.tasks
        kept = tuple(each for each in self.trials if each.trainer.name in wanted[0] and each.task.name in wanted[1])
        return replace(self, trials=kept)


def plan(study: str | Path | Study, overrides: Iterable[str] = ()) -> Plan:
    """Read, check and expand a study.

    Args:
        study: name of a bundled study, path of a TOML file, or a study.
        overrides: ``a.b=c``, see ``load_study``.

    Raises:
        StudyError: if anything in it is unknown, missing or of the wrong type.
        RegistryError: if ``SEQMATCH_STRICT`` is set and a plug-in is registered in a way that cannot be loaded.
    """
    loaded, key = load_study(study, overrides)
    for registry in (TRAINERS, TASKS, METRICS):
        warn_of_malformed(registry)
    return _Expansion(loaded, key, home(study)).plan()


class _Expansion:
    def __init__(self, study: Study, key: Key, folder: Path) -> None:
        from trainers.base import Budget, Optimization
        from trainers.decoding import Decoder
        from trainers.model_spec import ModelSpec

        self.study, self.key, self.folder = study, key, folder
        self.classes: dict[str, type] = {
            "model": ModelSpec,
            "budget": Budget,
            "optimization": Optimization,
            "resources": Resources,
        }
        for name, cls in self.classes.items():
            check(cls, getattr(study, name), key / name)
        self.decoders = {name: build(Decoder, table, key / "decoders" / name) for name, table in study.decoders.items()}

    def plan(self) -> Plan:
        study, trials = self.study, list[Trial]()
        for name, table in study.trainers.items():
            self._component(TRAINERS, name, table, self.key / "trainers" / name)
        headlines, used = {}, set[str]()
        for name, table in study.tasks.items():
            key = self.key / "tasks" / name
            task = self._component(TASKS, name, table, key)
            trainers = [
                (self._component(TRAINERS, trainer, settings, at), settings, at)
                for trainer, settings, at in self._trainers(table, key / "trainers")
            ]
            metrics = self._metrics(task, table, key)
            used.update(metric.name for metric in metrics)
            headlines[name] = self._headline(metrics, key)
            chosen = self._decoders(table, key, metrics)
            decoders = [self._served(chosen, trainer, key) for trainer, _, _ in trainers]
            model = self._shared("model", (table, key))
            layers = [((table, key), (other, at)) for _, other, at in trainers]
            budgets, optimizations = (
                [self._shared(name, *both) for both in layers] for name in ("budget", "optimization")
            )
            wanted = [self._shared("resources", *both) for both in layers]
            resources = [{**each, "cpus": each["cpus"] or study.threads} for each in wanted]
            trials += [
                Trial(
                    study=study.name,
                    trainer=trainer,
                    task=task,
                    model=model,
                    budget=budget,
                    optimization=optimization,
                    generation=plain(study.generation),
                    decoders=served,
                    metrics=metrics,
                    evaluation=self._evaluation(metrics),
                    seed=seed,
                    split=study.split,
                    threads=study.threads,
                    save_policy=study.save_policies,
                    checkpoint_every=study.checkpoint_every,
                    versions=library_versions(),
                    resources=taken,
                )
                for seed in study.chosen_seeds
                for (trainer, _, _), budget, optimization, taken, served in zip(
                    trainers, budgets, optimizations, resources, decoders, strict=True
                )
            ]
        for name in study.metrics:
            if name not in used:
                raise (self.key / "metrics" / name).error(f"no task of this study uses it{suggestion(name, used)}")
        for name in study.evaluation.metrics or ():
            if name not in used:
                problem = f"no task of this study uses metric {name!r}{suggestion(name, used)}"
                raise (self.key / "evaluation" / "metrics").error(problem)
        return Plan(study, tuple(trials), tuple(trials), headlines)

    def _trainers(self, table: Table, key: Key) -> Iterator[tuple[str, Table, Key]]:
        """The trainers of a task: name, settings with the task's own on top, and where these are."""
        own = table.get("trainers", {})
        if not (isinstance(own, Mapping) and all(isinstance(value, Mapping) for value in own.values())):
            raise key.error("must have a table of settings for each trainer that it changes")
        for name in own:
            if name not in self.study.trainers:
                raise (key / name).error(f"is no trainer of this study{suggestion(name, self.study.trainers)}")
        for name, settings in self.study.trainers.items():
            if name not in own:
                yield name, settings, self.key / "trainers" / name
            elif "use" in own[name]:
                raise (key / name / "use").error("must not be changed: one row of the leaderboard is one method")
            else:
                yield name, _merged(settings, own[name]), key / name

    def _component(self, registry: Registry[Any], name: str, table: Table, key: Key) -> Component:
        """Load the class behind a table, and fill in its settings."""
        use = table.get("use", name)
        if not isinstance(use, str):
            raise (key / "use").error(f"must be a string, not {use!r}")
        try:
            entry = registry.entry(use, folder=self.folder)
            cls = registry.load_entry(entry)
        except RegistryError as error:
            raise (key / "use" if "use" in table else key).error(str(error)) from error
        settings = {k: v for k, v in table.items() if k not in registry.reserved}
        return component(name, entry, build(cls, settings, key, registry.reserved))

    def _shared(self, name: str, *layers: tuple[Table, Key]) -> dict[str, Any]:
        """The study's model, budget or optimization, overridden by the tables that have one of their own."""
        table, where = dict(getattr(self.study, name)), self.key / name
        for layer, key in layers:
            if name in layer:
                where = key / name
                table = _merged(table, check(self.classes[name], layer[name], where))
        return plain(build(self.classes[name], table, where))

    def _decoders(self, table: Table, key: Key, metrics: Iterable[Component]) -> dict[str, Decoder]:
        """The decoders of a task; its metrics can be computed under each."""
        names = table.get("decoders", list(self.decoders))
        key = key / "decoders"
        if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
            raise key.error(f"must be a list of names of decoders, not {names!r}")
        for name in names:
            if name not in self.decoders:
                raise key.error(f"unknown decoder {name!r}{suggestion(name, self.decoders)}")
            for metric in metrics:
                if METRICS.load(metric.use).follows_decoder and not self.decoders[name].has_distribution:
                    raise key.error(
                        f"metric {metric.name!r} computes with the decoder's distribution over actions, and "
                        f"{name!r} has none: name other decoders, or other metrics, for this task"
                    )
        return {name: self.decoders[name] for name in names}

    def _served(self, decoders: Mapping[str, Decoder], trainer: Component, key: Key) -> dict[str, dict[str, Any]]:
        """The settings of those decoders that can decode the policies of a trainer."""
        backspace = TRAINERS.load(trainer.use).backspace
        served = {name: plain(decoder) for name, decoder in decoders.items() if decoder.serves(backspace)}
        if not served:
            raise (key / "decoders").error(
                f"none of {', '.join(decoders)} can decode policies with <bksp>, which {trainer.name!r} has"
            )
        return served

    def _metrics(self, task: Component, table: Table, key: Key) -> tuple[Component, ...]:
        """The metrics of a task: its own list unless the study replaces it, with the study's settings."""
        if "metrics" in table:
            own = table["metrics"]
            if not (isinstance(own, Mapping) and own and all(isinstance(value, Mapping) for value in own.values())):
                raise (key / "metrics").error("must have a table of settings (it may be empty) for each metric")
        else:
            own = {spec.name: spec.settings for spec in TASKS.load(task.use).metrics}
        found = []
        for name, settings in own.items():
            shared = self.study.metrics.get(name, {})
            at = key / "metrics" / name if "metrics" in table else self.key / "metrics" / name
            merged = {**shared, **settings} if "metrics" in table else {**settings, **shared}
            found.append(self._component(METRICS, name, merged, at))
        return tuple(found)

    def _evaluation(self, metrics: Iterable[Component]) -> dict[str, Any]:
        """What is measured of a task before the end of training; empty where nothing is."""
        wanted = self.study.evaluation
        names = [metric.name for metric in metrics if wanted.metrics is None or metric.name in wanted.metrics]
        return {"points": wanted.points, "metrics": names} if wanted.points > 1 and names else {}

    def _headline(self, metrics: tuple[Component, ...], key: Key) -> list[str]:
        reported: dict[str, str] = {}
        headline = []
        for metric in metrics:
            cls: type[Metric] = METRICS.load(metric.use)
            for value in cls.values:
                if value in reported:
                    raise (key / "metrics").error(
                        f"{reported[value]!r} and {metric.name!r} both report {value!r}: drop one"
                    )
                reported[value] = metric.name
            headline += list(cls.headline or list(cls.values)[:1])
        return headline


def _merged(base: Table, override: Table) -> dict[str, Any]:
    """Override settings; a nested table is overridden key by key, another source of a model replaces the old one."""
    if any(source in override for source in _MODEL_SOURCES):
        base = {k: v for k, v in base.items() if k not in _MODEL_SOURCES or k in override}
    merged = dict(base)
    for name, value in override.items():
        old = merged.get(name)
        merged[name] = {**old, **value} if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged
