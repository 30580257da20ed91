"""The contrasts that the protocol asks for, and no others: effects, intervals, exact tests and verdicts.

    python results/reference/contrasts.py [results/reference]

Reads the published tables beside this file, prints the contrasts of those that are there as markdown, and writes them
to ``contrasts.csv``. ``seqmatch compare`` shows everything else, and decides nothing here.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from harness.result_files import read_results
from harness.statistics import holm, sign_flips, t_interval
from harness.study import load_study
from harness.writing import write_file

HERE = Path(__file__).parent
ALPHA = 0.05
DECIDES = {"language": "kl_forward", "arithmetic": "accuracy", "text": "mauve"}
MARGINS = {"kl_forward": ("ratio", 1.25), "accuracy": ("difference", 0.05), "mauve": ("ratio", 1.25)}
"""What is too small to matter, and on which scale a number is contrasted: a factor, or in the number's own unit."""
JOINT = "mauve"
"""The number that depends on what it is measured with: all policies of a task and seed are clustered together."""
BACKSPACE, MATCH, CLONING = "sequence_match_backspace", "sequence_match", "behavioral_cloning"
METHODS = ((BACKSPACE, "mle"), (BACKSPACE, CLONING), (MATCH, "mle"), (CLONING, "mle"), ("unlikelihood", "mle"))


@dataclass(frozen=True)
class Side:
    """One side of a contrast: who wrote what is measured, and how."""

    trainer: str
    decoder: str = "ancestral"
    study: str | None = None


@dataclass(frozen=True)
class Family:
    """Contrasts on one number that answer one question, and are corrected together.

    Attributes:
        study: the published study of both sides, unless a side names another.
        question: in a word or two.
        task: of both sides.
        metric: the number.
        pairs: each of a side, and the side that it is held against.
        margin: scale and margin, as in ``MARGINS``; None: as there.
    """

    study: str
    question: str
    task: str
    metric: str
    pairs: tuple[tuple[Side, Side], ...]
    margin: tuple[str, float] | None = None


class NotMadeError(Exception):
    """The contrasts of a family cannot be made; the message says what is missing."""


def families() -> Iterator[Family]:
    """All contrasts, by study, question and task."""
    for task, metric in DECIDES.items():
        yield Family("main", "methods", task, metric, methods(erasing=task != "text"))
        if task != "text":
            longer = [(BACKSPACE, "mle"), (BACKSPACE, CLONING), (MATCH, "mle")]
            equal = tuple((Side(one), Side(other, study="flops")) for one, other in longer)
            yield Family("main", "equal FLOPs", task, metric, equal)
        if task != "language":
            truncated = [(Side(BACKSPACE, decoder), Side("mle", "nucleus")) for decoder in ("ancestral", "nucleus")]
            yield Family("main", "truncation", task, metric, tuple(truncated))
    sizes = [f"{kind}_{size}" for kind in ("uniform", "task") for size in ("small", "large")]
    pairs = [(Side(f"{way}_{size}"), Side(f"{way}_none")) for way in ("cloning", "match") for size in sizes]
    pairs += [(Side(f"match_{size}"), Side(f"cloning_{size}")) for size in ("none", *sizes)]
    yield Family("noise", "noise", "arithmetic", "accuracy", tuple(pairs))
    for task in ("base", "other", "few", "short", "long", "small"):
        trained = ("cloning", "cloning_policy", "match", "match_backspace", "match_backspace_policy")
        pairs = [(Side(one), Side("mle")) for one in trained]
        pairs += [(Side(f"match_backspace{kind}"), Side(f"cloning{kind}")) for kind in ("", "_policy")]
        pairs += [(Side(one), Side(one, "no_erasing")) for one in ("match_backspace", "cloning")]
        yield Family("regimes", "regimes", task, "kl_forward", tuple(pairs))
    for task in ("few", "few_b", "few_c"):
        yield Family("few", "methods", task, "kl_forward", methods(erasing=True))
    variants = (
        "behavioral_cloning alpha_16th alpha_4th alpha_4_times noise_4_times noise_on_rollouts half_value_weight "
        "levels_logits refresh_5 refresh_once from_the_start late no_cloning_left "
        "chi2 chi2_mixture_exact hellinger jensen_shannon forward_kl reverse_kl"
    )
    pairs = [(Side(one), Side("tuned")) for one in variants.split()]
    yield Family("grid", "sensitivity", "language", "kl_forward", tuple(pairs))
    real = [(MATCH, "mle"), (CLONING, "mle"), (BACKSPACE, "mle"), (BACKSPACE, CLONING), ("mle", "pretrained")]
    pairs = [(Side(one), Side(other)) for one, other in real]
    yield Family("smollm2", "methods", "text", "mauve", tuple(pairs), ("difference", 0.03))


def methods(erasing: bool) -> tuple[tuple[Side, Side], ...]:
    """The methods against each other; where ``erasing`` counts, also those that may against themselves without it."""
    pairs = [(Side(one), Side(other)) for one, other in METHODS]
    if erasing:
        pairs += [(Side(trainer), Side(trainer, "no_erasing")) for trainer in (BACKSPACE, CLONING)]
    return tuple(pairs)


def judged(family: Family, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A row per contrast of a family.

    Returns:
        ``scale`` says how numbers are contrasted: by their "difference", or by the logarithm of their "ratio".
        ``effect`` is the mean over matched seeds on that scale, positive where the first is better, in ``seeds_better``
        of them; ``low`` and ``high`` are its 95 % Student-t interval, not corrected. ``p_holm`` is of the exact
        sign-flip test, corrected over the family. ``verdict``: "better" or "worse" by ``p_holm``; else "equal" where
        two one-sided tests at 5 % exclude an effect as large as the margin; else "open".

    Raises:
        NotMadeError: if a table or a seed of its study is missing: no trial is left out; or if what should have trained
            longer has not.
    """
    rows, effects = [], []
    scale, size = family.margin or MARGINS[family.metric]
    margin = math.log(size) if scale == "ratio" else size
    sign = -1 if family.metric == "kl_forward" else 1
    for pair in family.pairs:
        mine, theirs = (by_seed(family, side, tables) for side in pair)
        if list(mine.index) != list(theirs.index):
            raise NotMadeError(f"{label(pair[0])} and {label(pair[1])} do not have the same seeds")
        if pair[1].study and (theirs["flops"] < mine["flops"]).any():
            raise NotMadeError(f"{label(pair[1])} has fewer FLOPs than {label(pair[0])}")
        own, other = (side["value"].to_numpy() for side in (mine, theirs))
        effect = sign * (np.log(own / other) if scale == "ratio" else own - other)
        low, high = t_interval(effect)
        within = t_interval(effect + margin, 0.9)[0] > 0 and t_interval(effect - margin, 0.9)[1] < 0
        rows.append(
            {
                "study": family.study,
                "question": family.question,
                "task": family.task,
                "metric": family.metric,
                "trainer": label(pair[0]),
                "against": label(pair[1]),
                "seeds": len(own),
                "mean": own.mean(),
                "other_mean": other.mean(),
                "flops": mine["flops"].mean(),
                "other_flops": theirs["flops"].mean(),
                "scale": scale,
                "effect": effect.mean(),
                "low": low,
                "high": high,
                "margin": margin,
                "seeds_better": int((effect > 0).sum()),
                "within": within,
            }
        )
        effects.append(effect)
    table = pd.DataFrame(rows)
    table["p"] = [test.p for test in sign_flips(effects)]
    table["p_holm"] = holm(table["p"])
    table["verdict"] = [verdict(*row) for row in table[["effect", "p_holm", "within"]].itertuples(index=False)]
    return table.drop(columns="within")


def verdict(effect: float, p_holm: float, within: bool) -> str:
    """What a contrast says."""
    if p_holm <= ALPHA:
        return "better" if effect > 0 else "worse"
    return "equal" if within else "open"


def by_seed(family: Family, side: Side, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The number of one side and its FLOPs, with seeds as index."""
    study = side.study or family.study
    if study not in tables:
        raise NotMadeError(f"{study} is not published")
    table = tables[study]
    seeds = sorted(table["seed"].unique())
    wanted = {"task": family.task, "metric": family.metric, "trainer": side.trainer, "decoder": side.decoder}
    for column, name in wanted.items():
        table = table[table[column] == name]
    found = table.set_index("seed")[["value", "flops"]].sort_index()
    if found.empty or not found.index.is_unique:
        raise NotMadeError(f"{study}: {len(found)} values of {wanted}, and not one per seed")
    if list(found.index) != seeds or found.isna().any(axis=None):
        raise NotMadeError(f"{study}: {wanted} does not have a value of each of its {len(seeds)} seeds")
    return found


def label(side: Side) -> str:
    """How a table calls a side."""
    extras = [each for each in (side.decoder if side.decoder != "ancestral" else "", side.study) if each]
    return side.trainer + (f" ({', '.join(extras)})" if extras else "")


def published(folder: Path) -> pd.DataFrame:
    """The long table of a publication; what is measured jointly there takes the place of what each trial measured.

    Raises:
        NotMadeError: if it does not have the seeds of its study, or versions of the code that differ have run a task.
    """
    study, _ = load_study(f"reference_{folder.name}")
    trials = json.loads((folder / "provenance.json").read_text()).values()
    sources = {trial["identity"]: trial["source"] for trial in trials}
    table, joint = read_results(folder / "results.parquet", "reference"), folder / f"measured-{JOINT}.parquet"
    together = [read_results(joint, "reference")] if joint.exists() else []
    jointly = [each[each["metric"] == JOINT] for each in together]
    for task, rows in table.groupby("task"):
        if len(set(map(sources.get, rows["trial"]))) > 1:
            raise NotMadeError(f"{folder.name}: several versions of the code have run task {task}")
    if set(table["seed"]) != set(study.chosen_seeds):
        raise NotMadeError(f"{folder.name} does not have the {len(study.chosen_seeds)} seeds of its study")
    return pd.concat([table[table["metric"] != JOINT], *jointly], ignore_index=True)


def main(place: Path) -> None:
    """Judge what is published."""
    tables, made = dict[str, pd.DataFrame](), list[pd.DataFrame]()
    for path in sorted(place.glob("*/results.parquet")):
        try:
            tables[path.parent.name] = published(path.parent)
        except NotMadeError as reason:
            print(f"not read: {reason}", file=sys.stderr)
    for family in families():
        try:
            made.append(judged(family, tables))
        except NotMadeError as reason:
            print(f"not made: {family.study}, {family.question}, {family.task}: {reason}", file=sys.stderr)
    if not made:
        raise SystemExit(f"{place} has nothing to contrast: run make reference")
    found = pd.concat(made, ignore_index=True)
    write_file(place / "contrasts.csv", partial(found.to_csv, index=False, float_format="%.6g"))
    print(markdown(found))


def markdown(found: pd.DataFrame) -> str:
    """A table for a page; an effect is a difference, or a factor by which the first is better."""
    columns = ("study", "task", "number", "trainer", "against", "better in", "effect [95 %]", "p (Holm)", "verdict")
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for row in found.to_dict("records"):
        numbers = [row[name] for name in ("effect", "low", "high")]
        if row["scale"] == "ratio":
            effect, low, high = (f"{math.exp(number):.2f}" for number in numbers)
            effect = f"x {effect}"
        else:
            effect, low, high = (f"{number:+.3f}" for number in numbers)
        names = " | ".join(str(row[name]) for name in ("study", "task", "metric", "trainer", "against"))
        seeds = f"{row['seeds_better']} of {row['seeds']}"
        lines.append(f"| {names} | {seeds} | {effect} [{low}, {high}] | {row['p_holm']:.3f} | {row['verdict']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE)
