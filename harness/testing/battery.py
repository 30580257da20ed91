"""What a conformance check is, and the battery of checks for one kind of plug-in."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, NoReturn, TypeVar

S = TypeVar("S")
"""The subject of a check: a plug-in with what is needed to try it out."""


class Tier(enum.StrEnum):
    """How much is checked."""

    QUICK = "quick"
    FULL = "full"


class CheckError(AssertionError):
    """The plug-in does not do what is promised in its name; the message says what was seen."""


class CheckSkipped(Exception):  # noqa: N818
    """The check does not apply to this plug-in; the message says why."""


def require(condition: object, message: str) -> None:
    """Raise CheckError with ``message`` unless ``condition`` holds."""
    if not condition:
        raise CheckError(message)


def skip(reason: str) -> NoReturn:
    """End the check: it does not apply."""
    raise CheckSkipped(reason)


@dataclass(frozen=True)
class Check(Generic[S]):
    """One promise of a plug-in.

    Attributes:
        name: of the function, which reads as what must hold.
        promise: what must hold, a sentence.
        tier: the first tier that runs it.
        function: returns if it holds, and raises if not.
    """

    name: str
    promise: str
    tier: Tier
    function: Callable[[S], None]


@dataclass(frozen=True)
class Battery(Generic[S]):
    """The checks of one kind of plug-in, in the order in which they are defined.

    Attributes:
        kind: "trainer", "task" or "metric".
        minimum: fewest checks that must run, skipped ones not counted, by tier: a battery that runs nothing is green
            and proves nothing.
    """

    kind: str
    minimum: Mapping[Tier, int]
    _checks: dict[str, Check[S]] = field(default_factory=dict)

    def check(self, tier: Tier = Tier.QUICK) -> Callable[[Callable[[S], None]], Callable[[S], None]]:
        """Add the decorated function; the first line of its docstring is the promise.

        Raises:
            ValueError: if there is a check of that name already, or it has no docstring.
        """

        def add(function: Callable[[S], None]) -> Callable[[S], None]:
            name, promise = function.__name__, (inspect.getdoc(function) or "").partition("\n")[0]
            if name in self._checks or not promise:
                raise ValueError(f"{self.kind} check {name!r} is defined twice, or says nothing in its docstring")
            self._checks[name] = Check(name, promise, tier, function)
            return function

        return add

    def checks(self, tier: Tier = Tier.FULL) -> list[Check[S]]:
        """The checks of a tier."""
        return [check for check in self._checks.values() if tier is Tier.FULL or check.tier is Tier.QUICK]
