"""What holds of the settings of every plug-in, whatever its kind: each raises CheckError where it does not."""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
from typing import Any, TypeVar

from harness.testing.battery import CheckError, require, skip
from harness.testing.subjects import Plugin
from harness.validation import Key, build, plain, settings_of

T = TypeVar("T")


def require_frozen(plugin: Plugin[Any]) -> None:
    """Raise unless the class itself is a frozen dataclass with keyword fields, so that settings cannot drift."""
    cls = plugin.cls
    own = "__dataclass_params__" in vars(cls) and dataclasses.is_dataclass(cls)
    new = [name for name in vars(cls).get("__annotations__", {}) if not _is_class_variable(cls, name)]
    require(
        own or not new,
        f"{cls.__name__} annotates {', '.join(new)} but is no dataclass itself, so these are no settings: "
        "decorate it with @dataclass(frozen=True, kw_only=True)",
    )
    instance = plugin.create()
    for name in settings_of(cls):
        try:
            setattr(instance, name, getattr(instance, name))
        except dataclasses.FrozenInstanceError:
            continue
        raise CheckError(
            f"{name!r} of an instance can be assigned: decorate {cls.__name__} with @dataclass(frozen=True)"
        )


def require_round_trip(plugin: Plugin[Any]) -> None:
    """Raise unless settings survive JSON, as which a trial stores them."""
    instance = plugin.create()
    stored = json.loads(json.dumps(plain(instance)))
    again = build(plugin.cls, stored, Key(f"{plugin.entry.kind} {plugin.entry.name!r}"))
    changed = [name for name in settings_of(plugin.cls) if getattr(again, name) != getattr(instance, name)]
    require(
        not changed,
        f"the settings {changed} are not what they were after JSON and back, for example "
        f"{[(getattr(instance, name), getattr(again, name)) for name in changed[:1]]}: use types that JSON has, and "
        "let __post_init__ leave fields as they are",
    )


def require_documented(plugin: Plugin[Any]) -> None:
    """Raise unless the docstrings of the class and its bases name every setting."""
    names = list(settings_of(plugin.cls))
    if not names:
        skip("it has no settings")
    text = " ".join(map(_written, plugin.cls.__mro__))
    missing = [name for name in names if not re.search(rf"\b{re.escape(name)}\b", text)]
    require(
        not missing,
        f"the docstring of {plugin.cls.__name__} does not say what {', '.join(missing)} means: name each setting "
        "under 'Attributes:', which is all the documentation a study's author has",
    )


def sent(instance: T) -> T:
    """What arrives of an instance in another process; raise where it cannot be sent, or other settings arrive."""
    try:
        arrived: T = pickle.loads(pickle.dumps(instance))
    except Exception as error:
        raise CheckError(
            f"cannot be pickled ({type(error).__name__}: {error}): keep what cannot be out of the instance"
        ) from error
    require(
        plain(arrived) == plain(instance), f"settings are {plain(arrived)} after pickling, and were {plain(instance)}"
    )
    return arrived


def _is_class_variable(cls: type, name: str) -> bool:
    return "ClassVar" in str(vars(cls)["__annotations__"][name])


def _written(cls: type) -> str:
    """The docstring, unless ``dataclass`` has made it: that one names all fields and explains nothing."""
    text = vars(cls).get("__doc__") or ""
    return "" if text.startswith(f"{cls.__name__}(") else text
