"""What a metric cannot measure is a MetricError that says what is missing, and odd texts are no crash."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_args

import numpy as np
import pandas as pd

from harness.testing.battery import require, skip
from harness.testing.metric.battery import METRIC
from harness.testing.metric.subject import MetricSubject
from harness.testing.metric.world import ODD_TEXTS
from harness.testing.processes import call_in_a_process
from harness.testing.subjects import metric_of
from metrics.base import MetricError, Need

TEXTS = ("prompt", "completion", "reference")
LONG = 3000
NO_TEXTS = (None, b"ab", 3.5, float("nan"), np.nan, "a\ud800")


@METRIC.check()
def too_few_generations_are_an_error(subject: MetricSubject) -> None:
    """Fewer generations than minimum_n are a MetricError that names both numbers."""
    least = subject.plugin.cls.minimum_n
    if least < 1:
        skip(f"minimum_n is {least}")
    message = subject.refusal(subject.generations()[: least - 1])
    require(message is not None, f"{least - 1} generations are measured, and minimum_n is {least}: {_CALL_CHECK}")
    said = str(message)
    require(
        str(least) in said and str(least - 1) in said,
        f"the message for {least - 1} of {least} generations names not both numbers: {said!r}; {_CALL_CHECK}",
    )


@METRIC.check()
def a_missing_column_is_an_error(subject: MetricSubject) -> None:
    """Each declared column that is missing is a MetricError that names it."""
    if not subject.plugin.cls.columns:
        skip("the metric reads no column")
    for column in subject.plugin.cls.columns:
        if column in subject.world.table:
            table = subject.generations().drop(columns=column)
            _require_refusal(subject, f"without the column {column!r}", column, table)


@METRIC.check()
def a_missing_need_is_an_error(subject: MetricSubject) -> None:
    """Each need that a context does not have is a MetricError that names it."""
    if not subject.plugin.cls.needs:
        skip("the metric needs nothing but generations")
    for need in sorted(subject.plugin.cls.needs & set(get_args(Need))):
        try:
            message = subject.refusal(context=subject.context(**{need: None}))
        except Exception as error:
            require(False, f"without {need} it raises {type(error).__name__}: {error}; {_CALL_CHECK}")
        require(message and need in message, f"without {need} it says {message!r}: {_CALL_CHECK}")


@METRIC.check()
def what_is_no_text_is_an_error(subject: MetricSubject) -> None:
    """None, bytes, numbers and broken Unicode in place of a text are a MetricError."""
    columns = [column for column in TEXTS if column in subject.plugin.cls.columns]
    if not columns:
        skip("the metric reads no texts")
    for column in columns:
        for wrong in NO_TEXTS:
            table = subject.generations()
            texts = [*table[column]]
            table[column] = pd.Series([wrong, *texts[1:]], dtype=object, index=table.index)
            _require_refusal(subject, f"with {wrong!r} in the column {column!r}", column, table)


@METRIC.check()
def an_empty_table_is_no_crash(subject: MetricSubject) -> None:
    """No generations at all are measured, or a MetricError."""
    _require_no_crash(subject, "no generations", subject.generations()[:0])


@METRIC.check()
def empty_completions_are_no_crash(subject: MetricSubject) -> None:
    """Completions without a token, some or all, are measured, or a MetricError."""
    world = subject.world
    some = ["" if place % 2 else text for place, text in enumerate(world.completions)]
    for what, texts in (("some empty completions", some), ("empty completions", [""] * len(some))):
        for ended in (True, False):
            _require_no_crash(subject, what, world.written(texts, ended=ended))


@METRIC.check()
def any_character_is_no_crash(subject: MetricSubject) -> None:
    """Completions and references in any script, with control characters too, are measured, or a MetricError."""
    table = _with(subject, ODD_TEXTS)
    _require_no_crash(subject, "completions in any script", table)
    _require_no_crash(subject, "references in any script", table.assign(reference=table["completion"][::-1].to_list()))


@METRIC.check()
def long_completions_are_no_crash(subject: MetricSubject) -> None:
    """Completions far longer than the others are measured, or a MetricError."""
    _require_no_crash(subject, "long completions", _with(subject, [subject.world.completions[0][0] * LONG]))


@METRIC.check()
def a_missing_module_is_an_error(subject: MetricSubject) -> None:
    """Without an optional module that it uses, the metric says which one, or what to install."""
    extras = subject.metric().extras()
    if not extras:
        skip("the metric uses no optional module")
    settings = json.dumps(dict(subject.plugin.settings))
    for module, extra in extras.items():
        # In a process of its own: here it may have in memory what the module made before.
        raised, said = call_in_a_process(__name__, "without", subject.plugin.address, settings, module, hash_seed=1)
        require(
            raised,
            f"extras() names {module!r}, and it is computed without: import it where it is used, or drop it",
        )
        require(
            raised in (MetricError.__name__, "ImportError", "ModuleNotFoundError"),
            f"without {module} it raises {raised}: raise MetricError, and name it",
        )
        require(module in said or extra in said, f"without {module} it says {said!r}: name what to install")


def without(address: str, settings: str, module: str) -> tuple[str, str]:
    """What a metric raises where a module is not installed, and its message; empty where it is computed."""
    subject = MetricSubject(metric_of(address, json.loads(settings)))
    metric = subject.metric()
    with _hidden(module):
        try:
            subject.compute(context=subject.context(cache=None), metric=metric)
        except Exception as error:
            return type(error).__name__, str(error)
    return "", ""


_CALL_CHECK = "call self.check(generations, context) first in compute"


def _require_refusal(subject: MetricSubject, how: str, column: str, table: pd.DataFrame) -> None:
    try:
        message = subject.refusal(table)
    except Exception as error:
        require(False, f"{how}: it raises {type(error).__name__}: {error}; {_CALL_CHECK}")
    require(message is not None, f"{how}: it is measured all the same; {_CALL_CHECK}")
    require(column in str(message), f"{how}: the message does not name the column: {message!r}; {_CALL_CHECK}")


def _require_no_crash(subject: MetricSubject, whose: str, table: pd.DataFrame) -> None:
    try:
        numbers = subject.compute(table)
    except MetricError:
        return
    except Exception as error:
        require(False, f"{whose}: it raises {type(error).__name__}: {error}; measure them, or raise MetricError")
    subject.require_sound(numbers, whose)


def _with(subject: MetricSubject, texts: Sequence[str]) -> pd.DataFrame:
    """Generations of which the first few have these completions."""
    world = subject.world
    return world.written([*texts, *world.completions[len(texts) :]], ended=True)


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """As if a module were not installed."""
    names = [name for name in sys.modules if name == module or name.startswith(f"{module}.")]
    kept = {name: sys.modules[name] for name in names}
    nothing: Any = None
    sys.modules.update(dict.fromkeys([module, *names], nothing))
    try:
        yield
    finally:
        del sys.modules[module]
        sys.modules.update(kept)
