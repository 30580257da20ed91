"""From the name of a plug-in to the subject of its checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from harness.assets import resolve
from harness.entries import Entry
from harness.errors import RequestError
from harness.registry import METRICS, TASKS, TRAINERS, Registry
from harness.testing.battery import Battery
from harness.validation import Key, build, plain

if TYPE_CHECKING:
    from metrics.base import Metric
    from tasks.base import Task
    from trainers.base import Trainer

T = TypeVar("T")


@dataclass(frozen=True)
class Plugin(Generic[T]):
    """A plug-in with the settings it is checked under.

    Attributes:
        entry: where it comes from.
        cls: its class.
        settings: those that are overridden.
    """

    entry: Entry
    cls: type[T]
    settings: Mapping[str, Any]

    @property
    def address(self) -> str:
        """A name under which another process, or a study, finds it from any folder."""
        return self.entry.recorded

    def create(self, **settings: Any) -> T:
        """A new instance, with further settings; assets are resolved, those that defaults name too."""
        key = Key(f"{self.entry.kind} {self.entry.name!r}")
        chosen = build(self.cls, {**self.settings, **settings}, key)
        return build(self.cls, resolve(plain(chosen)), key)


def find(registry: Registry[T], name: str, settings: Mapping[str, Any]) -> Plugin[T]:
    """Load a plug-in, and see that it takes the settings.

    Raises:
        StudyError: if there is no such plug-in, it cannot be loaded, or a setting is unknown or wrong.
    """
    entry = registry.entry(name)
    found = Plugin(entry, registry.load_entry(entry), settings)
    found.create()
    return found


def trainer_of(name: str, settings: Mapping[str, Any]) -> Plugin[Trainer]:
    """A trainer by name, see ``find``."""
    return find(TRAINERS, name, settings)


def task_of(name: str, settings: Mapping[str, Any]) -> Plugin[Task]:
    """A task by name, see ``find``."""
    return find(TASKS, name, settings)


def metric_of(name: str, settings: Mapping[str, Any]) -> Plugin[Metric]:
    """A metric by name, see ``find``."""
    return find(METRICS, name, settings)


@dataclass(frozen=True)
class Kind(Generic[T]):
    """One kind of plug-in: how it is found, what is tried on it, and the checks.

    Attributes:
        find: by name and settings.
        subject: made anew for every check.
        battery: the checks.
    """

    find: Callable[[str, Mapping[str, Any]], Plugin[T]]
    subject: Callable[[Plugin[T]], Any]
    battery: Battery[Any]


def kind_of(name: str) -> Kind[Any]:
    """The kind "trainer", "task" or "metric"; imports its checks, and with them torch.

    Raises:
        RequestError: if there is no such kind.
    """
    if name == "trainer":
        from harness.testing import trainer

        return Kind(trainer_of, trainer.TrainerSubject, trainer.TRAINER)
    if name == "task":
        from harness.testing import task

        return Kind(task_of, task.TaskSubject, task.TASK)
    if name != "metric":
        raise RequestError(f"there is no kind {name!r} of plug-in: trainer, task or metric")
    from harness.testing import metric

    return Kind(metric_of, metric.MetricSubject, metric.METRIC)
