"""Settings of a study file are the dataclass fields of the classes they belong to.

Types are checked strictly by pydantic ("abc" or 1.5 is no int, true is no number), unknown keys are errors, and
every error names the file and the dotted key.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from harness.errors import StudyError, suggestion

T = TypeVar("T")
Table = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Key:
    """A place in a study: the file (or what stands for it) and a dotted key."""

    source: str
    path: tuple[str, ...] = ()

    def __truediv__(self, part: str) -> Key:
        return Key(self.source, (*self.path, part))

    def error(self, problem: str) -> StudyError:
        """A StudyError that says what is wrong here."""
        return StudyError(": ".join([self.source, *([".".join(self.path)] if self.path else []), problem]))


def settings_of(cls: type) -> dict[str, dataclasses.Field[Any]]:
    """The fields of a dataclass that a study may set.

    Raises:
        TypeError: if the class is no dataclass.
    """
    return {field.name: field for field in dataclasses.fields(cls) if field.init}


def check(cls: type, table: object, key: Key, others: tuple[str, ...] = ()) -> Table:
    """Check the keys and types of a table that need not be complete.

    Args:
        cls: dataclass whose fields are the settings.
        table: from the study.
        key: where the table is, for messages.
        others: keys that are valid there but not in this table, for messages.

    Returns:
        The table.

    Raises:
        StudyError: if it is no table, has an unknown key, or a value of another type.
    """
    if not isinstance(table, Mapping):
        raise key.error(f"must be a table, not {table!r}")
    settings, hints = settings_of(cls), hints_of(cls)
    for name, value in table.items():
        if name not in settings:
            raise (key / str(name)).error(f"unknown key{suggestion(str(name), [*settings, *others])}")
        _convert(hints[name], value, key / name, complete=False)
    return table


def build(cls: type[T], table: object, key: Key, others: tuple[str, ...] = ()) -> T:
    """Make an instance of a dataclass from a table; what is not given has its default.

    Args:
        cls: dataclass whose fields are the settings.
        table: from the study, or from ``plain``.
        key: where the table is, for messages.
        others: as in ``check``.

    Raises:
        StudyError: as ``check``; also if a setting without a default is missing, or the class rejects the values.
    """
    table = check(cls, table, key, others)
    hints, values = hints_of(cls), {}
    for name, field in settings_of(cls).items():
        if name in table:
            values[name] = _convert(hints[name], table[name], key / name, complete=True)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise (key / name).error("is missing and has no default")
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        raise key.error(str(error)) from error


def plain(instance: object) -> dict[str, Any]:
    """Return all settings of an instance as JSON data, from which ``build`` makes an equal one."""

    def convert(value: object) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return plain(value)
        return to_jsonable_python(sorted(value) if isinstance(value, set | frozenset) else value)

    return {name: convert(getattr(instance, name)) for name in settings_of(type(instance))}


def hints_of(cls: type) -> dict[str, Any]:
    """The types of the fields of a dataclass.

    Raises:
        StudyError: if the name of a type is not known in its module.
    """
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise StudyError(
            f"{cls}: the type of a field cannot be read ({error}); import that name outside 'if TYPE_CHECKING'"
        ) from error


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=ConfigDict(strict=True))


def _nested(hint: Any) -> type | None:
    """The dataclass in ``D`` or ``D | None``."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    found = [option for option in options if isinstance(option, type) and dataclasses.is_dataclass(option)]
    return found[0] if found else None


def _convert(hint: Any, value: object, key: Key, *, complete: bool) -> object:
    nested = _nested(hint)
    if nested is not None and value is not None:
        return build(nested, value, key) if complete else check(nested, value, key)
    try:
        return _adapter(hint).validate_json(json.dumps(value))
    except ValidationError as error:
        details = error.errors()
        for part in details[0]["loc"] if len(details) == 1 else ():
            key, value = key / str(part), details[0]["input"]
        messages = dict.fromkeys(detail["msg"] for detail in details)
        raise key.error(f"{' or '.join(messages)}; got {value!r}") from error
    except (TypeError, ValueError) as error:
        raise key.error(f"{value!r} is not a value a setting can have: {error}") from error
