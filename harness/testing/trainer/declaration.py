"""What a trainer's class declares: settings that a study can name, document, store and send to a worker."""

from __future__ import annotations

import dataclasses
import inspect
import math
from typing import Any

from harness.testing import settings_promises as promises
from harness.testing.battery import CheckError, require, skip
from harness.testing.trainer.battery import TRAINER
from harness.testing.trainer.subject import TrainerSubject
from harness.validation import plain, settings_of
from trainers.base import Trainer


@TRAINER.check()
def the_class_is_a_frozen_dataclass(subject: TrainerSubject) -> None:
    """The class is itself a frozen dataclass, whose fields are its settings."""
    cls = subject.plugin.cls
    promises.require_frozen(subject.plugin)
    for name in ("backspace", "learns"):
        value = getattr(cls, name)
        require(isinstance(value, bool), f"{name} is {value!r}: declare it as `{name}: ClassVar[bool] = True` or False")
        require(name not in settings_of(cls), f"{name} is no setting: declare it as a ClassVar")


@TRAINER.check()
def the_methods_take_what_they_are_called_with(subject: TrainerSubject) -> None:
    """``fit`` or ``loss`` is overridden, and every method takes the arguments of that of ``trainers.base.Trainer``."""
    cls = subject.plugin.cls
    require(
        cls.fit is not Trainer.fit or cls.loss is not Trainer.loss, f"{cls.__name__} overrides neither loss() nor fit()"
    )
    for name in ("fit", "loss", "prepare", "rollouts", "rollout_noise", "learner"):
        wanted = [each for each in inspect.signature(getattr(Trainer, name)).parameters if each != "self"]
        try:
            inspect.signature(getattr(cls, name)).bind(None, *wanted)
        except TypeError as error:
            raise CheckError(f"{name}() cannot be called as {name}({', '.join(wanted)}): {error}") from error


@TRAINER.check()
def every_setting_is_documented(subject: TrainerSubject) -> None:
    """The docstring of the class, or of a base that defines the setting, says what each setting means."""
    promises.require_documented(subject.plugin)


@TRAINER.check()
def settings_survive_a_study(subject: TrainerSubject) -> None:
    """Settings written as JSON give an equal trainer again: a stored trial says what was run."""
    promises.require_round_trip(subject.plugin)


@TRAINER.check()
def a_trainer_can_be_pickled(subject: TrainerSubject) -> None:
    """An instance survives pickling, as workers in other processes need."""
    promises.sent(subject.trainer())


@TRAINER.check()
def impossible_settings_are_refused_by_name(subject: TrainerSubject) -> None:
    """A number that a setting cannot have is refused by a ValueError that names the setting."""
    numbers = [
        name for name, value in plain(subject.trainer()).items() if isinstance(value, float | int) and value is not True
    ]
    refused = dict[str, str]()
    for name in numbers:
        for value in (-1, math.nan):
            problem = _refusal(subject.trainer(), name, value)
            if problem is not None:
                refused[name] = problem
                require(name in problem, f"{name} = {value} is refused with {problem!r}: name the setting")
    if not refused:
        skip("no setting is refused at -1 or NaN")


def _refusal(trainer: Trainer, name: str, value: float) -> str | None:
    """The message with which a value is refused; None if it is accepted.

    Raises:
        CheckError: if it is refused by another exception than a ValueError.
    """
    own: Any = getattr(trainer, name)
    try:
        dataclasses.replace(trainer, **{name: type(own)(value) if isinstance(own, float) else value})
    except ValueError as error:
        return str(error)
    except Exception as error:
        raise CheckError(f"{name} = {value} raised {type(error).__name__}: {error}; raise a ValueError") from error
    return None
