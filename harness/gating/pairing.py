"""Two long tables side by side: the seeds that both sides have, and what became of the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from harness.pairing import Cell, Cells, Pairs, match


@dataclass(frozen=True)
class Pairing:
    """The numbers of one cell and metric that can be compared.

    Attributes:
        cell: where.
        metric: name of the number.
        pairs: candidate and baseline under the same seeds.
    """

    cell: Cell
    metric: str
    pairs: Pairs

    @property
    def lost(self) -> dict[int, str]:
        """The seeds whose value the baseline has and the candidate has not, and why."""
        return {seed: new for seed, (new, old) in self.pairs.lacking.items() if not old}

    @property
    def unmatched(self) -> dict[int, str]:
        """The seeds without a value of the baseline, and why."""
        return {seed: old for seed, (_, old) in self.pairs.lacking.items() if old}

    @property
    def missing(self) -> str:
        """The seeds that are not compared, and why; empty if there are none."""
        reasons: dict[str, list[int]] = {}
        for side, seeds in (("candidate", self.lost), ("baseline", self.unmatched)):
            for seed, reason in seeds.items():
                reasons.setdefault(f"{reason} in the {side}", []).append(seed)
        return "; ".join(f"{named(seeds)} {reason}" for reason, seeds in reasons.items())


def pairings(candidate: Cells, baseline: Cells, metric: str) -> list[Pairing]:
    """Pair two tables over seeds, for every cell in which either side reports a metric.

    Returns:
        One for each cell, in the order of the baseline, then of the candidate.
    """
    found = dict.fromkeys([*baseline.reporting(metric), *candidate.reporting(metric)])
    return [
        Pairing(cell, metric, match(candidate.outcomes(cell, metric), baseline.outcomes(cell, metric)))
        for cell in found
    ]


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
