"""What a metric is: numbers from a table of generations, with their direction, range and known answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pandas as pd

Need = Literal["policy", "language", "judge"]
Judge = Callable[[Sequence[int], str, bool], bool]
"""``(token ids of a completion, reference, ended)``: is it right, or if it has not ended, can it still become so?"""


_TEXTS = frozenset({"prompt", "completion", "reference"})


class MetricError(ValueError):
    """A metric cannot be computed from what it was given; the message says why."""


@dataclass(frozen=True)
class Value:
    """One number that a metric reports.

    Attributes:
        higher_is_better: True, False, or None where neither direction is better.
        range: smallest and largest possible value.
        unit: unit of the number, empty for a plain ratio.
    """

    higher_is_better: bool | None
    range: tuple[float, float]
    unit: str = ""


class Estimate(float):
    """A number with its sample error; everywhere else it is that number, and arithmetic forgets the error.

    Attributes:
        standard_error: over test samples, for one policy: the standard deviation of the number over as many other
            prompts and draws. 0: exact; NaN: unknown, as for a plain float. It says nothing about other training seeds.
    """

    __slots__ = ("standard_error",)
    standard_error: float

    def __new__(cls, value: float, standard_error: float) -> Estimate:
        """A float of ``value``."""
        estimate = super().__new__(cls, value)
        estimate.standard_error = float(standard_error)
        return estimate

    def __reduce__(self) -> tuple[type[Estimate], tuple[float, float]]:
        return Estimate, (float(self), self.standard_error)

    def __repr__(self) -> str:
        return f"Estimate({float(self)!r}, {self.standard_error!r})"


@dataclass(frozen=True)
class Series:
    """A curve that a metric reports to be plotted, beside its numbers.

    Attributes:
        x, y: labels of the axes.
    """

    x: str
    y: str


@dataclass(frozen=True)
class KnownAnswer:
    """A case whose result is known in closed form: ``measured`` must equal ``expected`` within ``tolerance``."""

    case: str
    measured: float
    expected: float
    tolerance: float = 1e-9

    @property
    def holds(self) -> bool:
        return abs(self.measured - self.expected) <= self.tolerance


class Actions(Protocol):
    """The action space of a policy, as metrics see it."""

    @property
    def eos(self) -> int: ...

    @property
    def bksp(self) -> int | None: ...


class ScoredPolicy(Protocol):
    """The part of a policy that metrics may use (``trainers.policy.Policy`` satisfies it)."""

    @property
    def actions(self) -> Actions: ...

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""

    def log_likelihood(
        self, prompts: Sequence[str], completions: Sequence[str], finished: Sequence[bool]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log-probability (nats) and number of tokens of each completion given its prompt.

        Backspace is masked out and the rest renormalised; the end-of-sequence action counts where
        ``finished``.
        """

    def path_probabilities(self, prompt: str, paths: np.ndarray, decoder: Any = None) -> np.ndarray:
        """Probabilities of all actions at every state along paths of visible tokens.

        Args:
            prompt: the start state.
            paths: token ids, shape ``(n, length)``.
            decoder: warps the logits before the softmax (None: ancestral sampling).

        Returns:
            float64 array ``(n, length + 1, number of actions)``; entry ``[i, t]`` is the distribution
            after the first ``t`` tokens of path ``i``. Impossible actions have probability 0.
        """


class FiniteLanguage(Protocol):
    """A language that can be enumerated, as ``tasks.language.Language`` is."""

    @property
    def alphabet(self) -> tuple[str, ...]:
        """The symbols, each one token."""

    @property
    def max_length(self) -> int:
        """Length of the longest string, in symbols."""

    @property
    def strings(self) -> tuple[tuple[int, ...], ...]:
        """All strings of the language, each a tuple of indices into ``alphabet``."""

    @property
    def probabilities(self) -> np.ndarray:
        """Probability of each string, float64, shape ``(len(strings),)``, sums to 1."""


def _discard(name: str, x: Sequence[float], y: Sequence[float]) -> None:
    del name, x, y


@dataclass(frozen=True)
class MetricContext:
    """What a metric may use beside the generations; a metric names in ``needs`` what must be there.

    Attributes:
        policy: the policy that wrote the generations.
        language: the finite language of the task.
        judge: tells right completions from wrong ones, where the truth is known.
        error_tokens: texts that are plausible errors, each one token.
        prompts, completions, finished: the held-out examples.
        real: further real completions, of other examples than these: what a ceiling is measured with.
        decoder: the decoder of the generations, passed through to the policy.
        max_new_tokens, max_actions: bounds under which the generations were drawn.
        cache: folder for features; None: no cache on disk.
        seed: seed of the metric's own draws (k-means, permutations).
        series: takes the curves to be plotted: the name of one that the metric declares, and its points in order.
    """

    policy: ScoredPolicy | None = None
    language: FiniteLanguage | None = None
    judge: Judge | None = None
    error_tokens: Sequence[str] = ()
    prompts: Sequence[str] = ()
    completions: Sequence[str] = ()
    finished: Sequence[bool] = ()
    real: Sequence[str] = ()
    decoder: Any = None
    max_new_tokens: int | None = None
    max_actions: int | None = None
    cache: Path | None = None
    seed: int = 0
    series: Callable[[str, Sequence[float], Sequence[float]], None] = _discard


@dataclass(frozen=True, kw_only=True)
class Metric(ABC):
    """Numbers from generations; the dataclass fields of a subclass are its settings.

    The generations table has one row per sample: ``prompt, completion, reference`` (strings),
    ``completion_ids`` and ``actions`` (lists of token ids: the final visible text, and every action
    taken, erased ones included), ``finish`` ("eos", "length" or "actions": which bound ended it),
    ``n_actions`` and ``n_backspaces`` (int).
    """

    values: ClassVar[Mapping[str, Value]]
    """Every number that ``compute`` may report, by name; names are unique over all metrics of a table."""

    series: ClassVar[Mapping[str, Series]] = {}
    """Every curve that ``compute`` may hand to ``MetricContext.series``, by name."""

    columns: ClassVar[tuple[str, ...]] = ()
    """Columns of the generations table that ``compute`` reads."""

    headline: ClassVar[tuple[str, ...]] = ()
    """The numbers that a leaderboard shows; empty: the first of ``values``."""

    needs: ClassVar[frozenset[Need]] = frozenset()
    follows_decoder: ClassVar[bool] = False
    """It computes with the decoder's distribution over actions, so the decoder must have one."""

    needs_real: ClassVar[tuple[str, ...]] = ()
    """Numbers that are left out where ``MetricContext.real`` has fewer completions than there are generations."""

    minimum_n: ClassVar[int] = 1
    """Fewest generations for which the metric means anything."""

    minimum_reason: ClassVar[str] = ""
    """Why it means nothing with fewer."""

    @abstractmethod
    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        """Return numbers by name, a subset of ``values``; an ``Estimate`` where the sample error is known.

        Raises:
            MetricError: if there are fewer than ``minimum_n`` rows, or what ``columns`` or ``needs`` name is
                missing.
        """

    def extras(self) -> Mapping[str, str]:
        """Modules that it imports under its settings and that are optional, each with the extra that brings it."""
        return {}

    @classmethod
    @abstractmethod
    def known_answers(cls) -> list[KnownAnswer]:
        """Run the metric on cases with known results."""

    def check(self, generations: pd.DataFrame, context: MetricContext) -> None:
        """Raise MetricError unless there is enough to compute the metric from, and texts are texts."""
        from metrics.texts import check_texts

        name = type(self).__name__
        if len(generations) < self.minimum_n:
            reason = self.minimum_reason and f": {self.minimum_reason}"
            raise MetricError(f"{name} needs at least {self.minimum_n} generations, got {len(generations)}{reason}")
        absent = [column for column in self.columns if column not in generations.columns]
        if absent:
            raise MetricError(f"{name} reads the columns {absent}, which this table of generations does not have")
        for column in filter(_TEXTS.__contains__, self.columns):
            check_texts(generations[column], f"{name}: the column {column!r}")
        missing = sorted(need for need in self.needs if getattr(context, need) is None)
        if missing:
            raise MetricError(f"{name} needs {' and '.join(missing)}, which this context does not have")
