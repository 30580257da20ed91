"""A trainer changes the policy it is given, and nothing else it is given."""

from __future__ import annotations

import copy
import pickle
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from harness.seeding import TRAINING_AXES, axis_seeds
from harness.testing.battery import require
from harness.testing.trainer.battery import TRAINER
from harness.testing.trainer.comparing import difference
from harness.testing.trainer.subject import TrainerSubject
from trainers.base import Budget


@TRAINER.check()
def examples_are_not_changed(subject: TrainerSubject) -> None:
    """The data set is as before: its rows, its columns, its format and its fingerprint."""
    examples = subject.examples()
    before = examples.to_dict(), examples.format, examples._fingerprint
    subject.fit(examples=examples)
    require(
        (examples.to_dict(), examples.format, examples._fingerprint) == before,
        "training changed the data set it was given: other trials of the process train on it too; work on a copy",
    )


@TRAINER.check()
def further_columns_are_ignored(subject: TrainerSubject) -> None:
    """Columns beside ``prompt``, ``completion`` and ``finished`` change nothing."""
    examples = subject.examples()
    more = examples.add_column("level", [1.5] * len(examples)).add_column("text", ["badbad"] * len(examples))
    found = difference(subject.fit(), subject.fit(examples=more))
    require(not found, f"with two columns more: {found}; read prompt, completion and finished by name")


@TRAINER.check()
def settings_are_not_changed(subject: TrainerSubject) -> None:
    """The trainer itself is as before: its settings, and what stands on it and on its class."""
    trainer = subject.trainer()

    def state() -> dict[str, Any]:
        own = {field.name: getattr(trainer, field.name) for field in fields(trainer)}
        return {name: _copied(value) for name, value in {**getattr(trainer, "__dict__", {}), **own}.items()}

    before, before_class = state(), _plain_attributes(type(trainer))
    subject.fit(trainer=trainer)
    after, after_class = state(), _plain_attributes(type(trainer))
    names = _unequal(before, after) + _unequal(before_class, after_class)
    require(
        not names,
        f"training changed {', '.join(names)} of the trainer: an instance may train many policies; keep state in fit()",
    )


@TRAINER.check()
def what_the_harness_lends_is_read_only(subject: TrainerSubject) -> None:
    """Seeds, optimisation and budget are as before; the seeds may be a read-only mapping."""
    seeds, budget, rows = axis_seeds(0, TRAINING_AXES), Budget(steps=4), list[Any]()
    context = subject.context(seeds=MappingProxyType(seeds), report=rows.append)
    before = copy.deepcopy((seeds, context.optimization, budget))
    subject.trainer().fit(subject.policy(), subject.examples(), budget, context)
    names = [
        name
        for name, one, other in zip(
            ("the seeds", "the optimisation", "the budget"), before, (seeds, context.optimization, budget), strict=True
        )
        if one != other
    ]
    require(not names, f"training changed {' and '.join(names)}: they are shared by all trials, and read-only")


def _copied(value: Any) -> Any:
    """A deep copy; what cannot be copied (a lock, say) stands for itself."""
    try:
        return copy.deepcopy(value)
    except (TypeError, NotImplementedError):
        return value


def _plain_attributes(cls: type) -> dict[str, Any]:
    """What can be copied of the attributes of a class and its bases."""
    found = dict[str, Any]()
    for base in reversed(cls.__mro__[:-1]):
        for name, value in vars(base).items():
            if name.startswith("__") or callable(value) or isinstance(value, property | classmethod | staticmethod):
                continue
            try:
                found[f"{base.__name__}.{name}"] = pickle.dumps(value)
            except (TypeError, AttributeError, pickle.PicklingError):
                continue
    return found


def _unequal(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    both = before.keys() & after.keys()
    return sorted((before.keys() ^ after.keys()) | {name for name in both if repr(before[name]) != repr(after[name])})
