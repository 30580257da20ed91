"""A regression gate: results of a candidate against those of a baseline, number by number, over matched seeds.

It reads tables only. Every number that has a margin is judged by itself in every task, trainer and decoder
(``harness.gating.noninferiority``). The whole is regressed if one of them is, else inconclusive if one is, else ok. To
pass, all of them must be proven, so that no correction for their number is needed: a gate lets a candidate through that
is worse than a margin somewhere with probability 1 - level at most.

What is missing counts against a proof. A seed or a cell that the baseline has and the candidate has not (it failed, is
not finite, or is absent) leaves the verdict at inconclusive at best: what fails may be what is bad. What is left can
still prove a regression. Values that the baseline lacks are shown and left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import RequestError, suggestion
from harness.gating.margins import Margin, parse_margins
from harness.gating.noninferiority import Decision, Verdict, decide
from harness.gating.pairing import Pairing, named, pairings, ranges
from harness.gating.specification_changes import changes, incomparable
from harness.leaderboard.numbers import ARROWS
from harness.pairing import Cells
from harness.places import opened, place_of
from harness.result_files import read_results, specifications

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class GateReport:
    """What a gate found.

    Attributes:
        table: a row per number judged, columns ``task, trainer, decoder, metric, higher_is_better, seeds`` (count of
            pairs), ``paired`` (which), ``missing`` (the others, and why), ``mean, baseline_mean`` (over the pairs),
            ``effect`` (mean difference, positive where the candidate is better), ``low, high`` (its one-sided bounds),
            ``margin, margin_text, verdict, reason, seeds_needed``.
        level: of each one-sided bound.
        warnings: why the two sides may not be comparable.
        changes: settings in which the trials of the two sides differ.
    """

    table: pd.DataFrame
    level: float
    warnings: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Of all numbers together."""
        found = set(self.table["verdict"])
        return next((v for v in (Verdict.REGRESSED, Verdict.INCONCLUSIVE) if v in found), Verdict.OK)

    @property
    def exit_code(self) -> int:
        """0 ok, 1 regressed, 3 inconclusive."""
        return {Verdict.OK: 0, Verdict.REGRESSED: 1, Verdict.INCONCLUSIVE: 3}[self.verdict]

    @property
    def summary(self) -> str:
        """The verdict, and how many numbers have which."""
        counts = self.table["verdict"].value_counts()
        order = (Verdict.REGRESSED, Verdict.INCONCLUSIVE, Verdict.OK)
        parts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in order if verdict in counts)
        return f"{self.verdict} ({parts})"


def gate(
    candidate: str | Path | pd.DataFrame,
    baseline: str | Path | pd.DataFrame,
    margins: Mapping[str, float | str | Margin],
    *,
    trainers: Sequence[str] = (),
    tasks: Sequence[str] = (),
    seeds: Sequence[int] = (),
    level: float = 0.95,
) -> GateReport:
    """Judge whether a candidate is worse than a baseline.

    Args:
        candidate: a results folder, a .parquet or .csv file of its long table, the URL of either, or the table.
        baseline: what it is held against, likewise.
        margins: by metric what may be lost: ``0.02`` in its unit, or ``"5%"`` of the mean of the baseline.
        trainers: judge these only; empty: all.
        tasks: likewise.
        seeds: likewise.
        level: confidence of each one-sided bound, between 0.5 and 1.

    Raises:
        RequestError: if there is no margin, one names an unknown metric or one without direction, a name or the level
            is wrong.
        ComparisonError: if a side contradicts itself, see ``harness.pairing.Cells``.
        StoreError: if a side cannot be read.
    """
    import pandas as pd

    if not 0.5 < level < 1:
        raise RequestError(f"level must lie between 0.5 and 1, got {level:g}")
    wanted = parse_margins(margins)
    candidate, baseline = _opened(candidate), _opened(baseline)
    filters: dict[str, Sequence[object]] = {"task": tasks, "trainer": trainers, "seed": seeds}
    new, old = read_results(candidate, "candidate"), read_results(baseline, "baseline")
    new, old = _chosen(new, old, filters)
    here, there = Cells(new, "candidate"), Cells(old, "baseline")
    directions = _directions(here, there, wanted)
    found = [pairing for metric in wanted for pairing in pairings(here, there, metric)]
    judged = [pairing for pairing in found if pairing.pairs.seeds or pairing.lost]
    for metric in wanted:
        if metric not in {pairing.metric for pairing in judged}:
            raise RequestError(
                f"margin of {metric!r}: the baseline has no finite value of it, so there is nothing to judge"
            )
    rows = [_row(pairing, directions[pairing.metric], wanted[pairing.metric], level) for pairing in judged]
    now, before = (_among(specifications(side), filters) for side in (candidate, baseline))
    skipped = [pairing for pairing in found if pairing not in judged]
    warnings = [
        *_same_place(candidate, baseline),
        *_other_sizes(new, old),
        *incomparable(now, before),
        *(
            f"not judged, since the baseline has no value: {p.metric} of {p.cell}, {named(p.unmatched)}"
            for p in skipped
        ),
    ]
    table = pd.DataFrame(rows).astype({"seeds_needed": "Int64"})
    return GateReport(table, level, tuple(warnings), tuple(changes(now, before)))


def _opened(side: str | Path | pd.DataFrame) -> Path | pd.DataFrame:
    return opened(side) if isinstance(side, str | Path) else side


def _row(pairing: Pairing, higher_is_better: bool, margin: Margin, level: float) -> dict[str, Any]:
    pairs = pairing.pairs
    decision = _guarded(decide(pairs.own, pairs.baseline, higher_is_better, margin, level), pairing)
    count = len(pairs.seeds)
    return {
        **pairing.cell._asdict(),
        "metric": pairing.metric,
        "higher_is_better": higher_is_better,
        "seeds": count,
        "paired": ranges(pairs.seeds),
        "missing": pairing.missing,
        "mean": float(pairs.own.mean()) if count else float("nan"),
        "baseline_mean": float(pairs.baseline.mean()) if count else float("nan"),
        "margin_text": str(margin),
        **asdict(decision),
    }


def _guarded(decision: Decision, pairing: Pairing) -> Decision:
    """Nothing passes on the seeds that happen to be left."""
    if decision.verdict is not Verdict.OK or not pairing.lost:
        return decision
    reason = f"ok on the seeds that are left, but the candidate has no value for {named(pairing.lost)}"
    return replace(decision, verdict=Verdict.INCONCLUSIVE, reason=reason)


def _chosen(
    new: pd.DataFrame, old: pd.DataFrame, filters: Mapping[str, Sequence[object]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    for column, names in filters.items():
        if names:
            known = {str(value) for table in (new, old) for value in table[column].unique()}
            for name in map(str, names):
                if name not in known:
                    raise RequestError(f"neither side has the {column} {name!r}{suggestion(name, known)}")
            new, old = new[new[column].isin(names)], old[old[column].isin(names)]
    return new, old


def _among(trials: Sequence[Mapping[str, Any]], filters: Mapping[str, Sequence[object]]) -> list[Mapping[str, Any]]:
    """The specifications of the trials that are judged."""
    named = [
        {"task": trial["task"]["name"], "trainer": trial["trainer"]["name"], "seed": trial["seed"]} for trial in trials
    ]
    kept = [all(not names or where[axis] in names for axis, names in filters.items()) for where in named]
    return [trial for trial, keep in zip(trials, kept, strict=True) if keep]


def _directions(new: Cells, old: Cells, margins: Mapping[str, Margin]) -> dict[str, bool]:
    """By metric, whether higher is better; and a margin for each that can be gated, or an error that lists them."""
    known = {side: _by_metric(cells, side) for side, cells in (("candidate", new), ("baseline", old))}
    gateable = {name: higher for name, higher in known["baseline"].items() if higher is not None}
    listing = ", ".join(f"{name} {ARROWS[higher]}" for name, higher in gateable.items()) or "none"
    if not margins:
        raise RequestError(
            "no margin is given: say by how much a number may be worse, as in --margin accuracy=0.02 or "
            f"--margin perplexity=5%; the baseline has {listing}"
        )
    for metric in margins:
        if metric not in known["baseline"]:
            raise RequestError(f"margin of {metric!r}: the baseline has no such metric{suggestion(metric, gateable)}")
        if metric not in gateable:
            raise RequestError(
                f"margin of {metric!r}: neither direction of it is better, so it cannot be gated (the baseline has "
                f"{listing})"
            )
        if known["candidate"].get(metric, gateable[metric]) != gateable[metric]:
            raise RequestError(f"margin of {metric!r}: the two sides disagree on whether higher or lower is better")
    return {metric: gateable[metric] for metric in margins}


def _by_metric(cells: Cells, side: str) -> dict[str, bool | None]:
    directions: dict[str, bool | None] = {}
    for (_, metric), higher in cells.directions.items():
        if directions.setdefault(metric, higher) is not higher:
            raise RequestError(f"the {side} says of {metric!r} both that higher is better and that it is not")
    return directions


def _same_place(candidate: object, baseline: object) -> list[str]:
    paths = [Path(side).resolve() for side in (candidate, baseline) if isinstance(side, str | Path)]
    same = len(paths) == 2 and paths[0] == paths[1]
    return [f"candidate and baseline are the same place, {place_of(paths[0])}: nothing is compared"] if same else []


def _other_sizes(new: pd.DataFrame, old: pd.DataFrame) -> list[str]:
    """Where the two sides were tested on other numbers of examples."""
    here, there = (_sizes(new), _sizes(old))
    return [
        f"task {task}: the candidate was tested on {here[task]} examples and the baseline on {there[task]}: "
        "differences are not of training alone"
        for task in here
        if task in there and here[task] != there[task]
    ]


def _sizes(table: pd.DataFrame) -> dict[str, str]:
    tested = table.dropna(subset=["n"])
    return {
        task: " or ".join(str(int(n)) for n in sorted(tested.loc[tested["task"] == task, "n"].unique()))
        for task in tested["task"].unique()
    }
