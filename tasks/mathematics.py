"""The module ``add_or_sub_in_base`` of the DeepMind mathematics dataset, seeded and restricted.

Saxton et al. 2019, "Analysing Mathematical Reasoning Abilities of Neural Models", arXiv 1904.01557.
"""

from __future__ import annotations

import importlib
import math
import random
import re
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple
from unittest import mock

BASES = (2, 16)
"""Smallest and largest base of the generator."""

ENTROPY = (3.0, 10.0)
"""Entropy of the generator's training split: decimal digits of the two numbers together, signs included."""

QUESTION = re.compile(r"In base (?P<base>\d+), what is (?P<p>-?\w+) (?P<operator>[+-]) (?P<q>-?\w+)\?")

_LOCK = threading.Lock()


class Problem(NamedTuple):
    """A question, such as "In base 7, what is 532 - -12?", and its answer, both as text."""

    question: str
    answer: str


class _Source(random.Random):
    """Random numbers of the generator, whose draw of a base is narrowed."""

    bases = BASES

    def randint(self, a: int, b: int) -> int:
        return super().randint(*(self.bases if (a, b) == BASES else (a, b)))


def _load() -> tuple[Any, tuple[Any, ...]]:
    """Import the generator, and the modules of it that draw random numbers."""
    diophantine: Any = importlib.import_module("sympy.solvers.diophantine")
    if not hasattr(diophantine, "base_solution_linear"):  # sympy >= 1.13 moved the name the generator imports
        moved: Any = importlib.import_module("sympy.solvers.diophantine.diophantine")
        diophantine.base_solution_linear = moved.base_solution_linear
    from mathematics_dataset.modules import arithmetic
    from mathematics_dataset.sample import number
    from mathematics_dataset.util import composition

    return arithmetic, (arithmetic, number, composition)


@dataclass
class Generator:
    """Draws problems; equal arguments give equal problems.

    The unrestricted generator gives what the original gives after ``random.seed(seed)``, but draws
    from its own stream: the state of the module ``random`` is neither used nor changed.

    Restricting the bases gives the original conditioned on the base. ``max_digits`` first cuts the range
    of the entropy to what two numbers of that length in the largest base can hold, then drops problems
    with longer numbers; small bases, which write few numbers so briefly, become rarer by it.

    Attributes:
        seed: seed of the stream.
        min_base, max_base: range of the bases, both ends included.
        max_digits: longest number in a question, in digits of its base, sign not counted; None: no limit.
    """

    seed: int
    min_base: int = BASES[0]
    max_base: int = BASES[1]
    max_digits: int | None = None

    def __post_init__(self) -> None:
        module, self._modules = _load()
        self._source = _Source(self.seed)
        self._source.bases = (self.min_base, self.max_base)
        low, high = ENTROPY
        if self.max_digits is not None:
            high = min(high, 2 * math.log10(2 * self.max_base**self.max_digits))
        entropy = (min(low, high), high)
        self._sample: Callable[[], Any] = module.train(lambda _: entropy)["add_or_sub_in_base"]

    def draw(self, n: int) -> list[Problem]:
        """Return the problems among the next ``n`` draws that satisfy the restrictions, in order."""
        with _LOCK, ExitStack() as stack:
            for module in self._modules:
                stack.enter_context(mock.patch.object(module, "random", self._source))
            samples = [self._sample() for _ in range(n)]
        problems = [Problem(str(sample.question), str(sample.answer)) for sample in samples]
        return [problem for problem in problems if self._allows(problem.question)]

    def _allows(self, question: str) -> bool:
        match = QUESTION.fullmatch(question)
        if match is None:
            raise RuntimeError(f"mathematics_dataset wrote a question of an unknown form: {question!r}")
        longest = max(len(match[name].lstrip("-")) for name in ("p", "q"))
        in_range = self.min_base <= int(match["base"]) <= self.max_base
        return in_range and (self.max_digits is None or longest <= self.max_digits)
