"""Two long tables side by side: the seeds that both sides have, and what became of the others."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from harness.errors import RequestError

if TYPE_CHECKING:
    import pandas as pd

KEYS = ["task", "trainer", "decoder"]


class Cell(NamedTuple):
    """A place in the table of both sides."""

    task: str
    trainer: str
    decoder: str

    def __str__(self) -> str:
        return f"{self.trainer} on {self.task} ({self.decoder})"


@dataclass(frozen=True)
class Pairing:
    """The numbers of one cell and metric that can be compared.

    Attributes:
        cell: where.
        metric: name of the number.
        seeds: the seeds with a finite value on both sides, sorted; n of them.
        candidate, baseline: their values, n each.
        lost: the seeds whose value the baseline has and the candidate has not, and why.
        unmatched: the seeds without a value of the baseline, and why.
    """

    cell: Cell
    metric: str
    seeds: tuple[int, ...]
    candidate: tuple[float, ...]
    baseline: tuple[float, ...]
    lost: Mapping[int, str]
    unmatched: Mapping[int, str]

    @property
    def missing(self) -> str:
        """The seeds that are not compared, and why; empty if there are none."""
        reasons: dict[str, list[int]] = {}
        for side, seeds in (("candidate", self.lost), ("baseline", self.unmatched)):
            for seed, reason in seeds.items():
                reasons.setdefault(f"{reason} in the {side}", []).append(seed)
        return "; ".join(f"{named(seeds)} {reason}" for reason, seeds in reasons.items())


def pairings(candidate: pd.DataFrame, baseline: pd.DataFrame, metric: str) -> list[Pairing]:
    """Pair two long tables over seeds, for every cell in which either side reports a metric.

    Args:
        candidate: a long table, see ``harness.tables.COLUMNS``.
        baseline: likewise.
        metric: name of a number.

    Returns:
        One for each cell, in the order of the baseline, then of the candidate.
    """
    new, old = _outcomes(candidate, metric), _outcomes(baseline, metric)
    found = dict.fromkeys([*_reporting(baseline, metric), *_reporting(candidate, metric)])
    return [_pair(cell, metric, new.get(cell, {}), old.get(cell, {})) for cell in found]


def check_unique(table: pd.DataFrame, side: str) -> None:
    """Raise RequestError if a number is there twice, or a trial has both numbers and none."""
    named = table[table["metric"].notna()]
    twice = named[named.duplicated([*KEYS, "seed", "metric"])]
    if len(twice):
        row = twice.iloc[0]
        cell = Cell(row["task"], row["trainer"], row["decoder"])
        raise RequestError(
            f"the {side} has {row['metric']} of {cell}, seed {row['seed']}, more than once: "
            "keep one row for each task, trainer, decoder, seed and metric"
        )
    outcomes = table[[*KEYS, "seed", "status"]].drop_duplicates()
    torn = outcomes[outcomes.duplicated([*KEYS, "seed"])]
    if len(torn):
        row = torn.iloc[0]
        cell = Cell(row["task"], row["trainer"], row["decoder"])
        raise RequestError(f"the {side} has {cell}, seed {row['seed']}, both as finished and as not: keep one of them")


def named(seeds: Collection[int]) -> str:
    """Seeds in words: ``seed 7``, ``seeds 0-3, 7``."""
    return f"seed{'s' if len(seeds) > 1 else ''} {ranges(seeds)}"


def ranges(numbers: Iterable[int]) -> str:
    """Whole numbers in few characters: ``0-3, 7``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _reporting(table: pd.DataFrame, metric: str) -> list[Cell]:
    rows = table.loc[table["metric"] == metric, KEYS].drop_duplicates()
    return [Cell(*row) for row in rows.itertuples(index=False)]


def _outcomes(table: pd.DataFrame, metric: str) -> dict[Cell, dict[int, float | str]]:
    """By cell and seed: the value, or why there is none."""
    outcomes: dict[Cell, dict[int, float | str]] = {}
    columns = [*KEYS, "seed", "metric", "value", "status"]
    for task, trainer, decoder, seed, name, value, status in table[columns].itertuples(index=False):
        found = outcomes.setdefault(Cell(task, trainer, decoder), {})
        if status != "finished":
            found[seed] = str(status)
        elif name == metric:
            found[seed] = float(value) if math.isfinite(value) else f"{value:g}"
        else:
            found.setdefault(seed, "not reported")
    return outcomes


def _pair(
    cell: Cell, metric: str, candidate: Mapping[int, float | str], baseline: Mapping[int, float | str]
) -> Pairing:
    pairs: dict[int, tuple[float, float]] = {}
    lost, unmatched = dict[int, str](), dict[int, str]()
    for seed in sorted({*candidate, *baseline}):
        new, old = candidate.get(seed, "absent"), baseline.get(seed, "absent")
        if isinstance(old, str):
            unmatched[seed] = old
        elif isinstance(new, str):
            lost[seed] = new
        else:
            pairs[seed] = new, old
    new_values, old_values = zip(*pairs.values(), strict=True) if pairs else ((), ())
    return Pairing(cell, metric, tuple(pairs), new_values, old_values, lost, unmatched)
