"""Generations to be read: the first of every trial, with every action, and the runs of backspaces among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.leaderboard.records import Parts
from harness.tables import read_arrow

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.store import Store

AUDITED = 12
"""Erasures that are listed per task, trainer and decoder; all are counted, and all can be stepped through."""
_COLUMNS = ("decoder", "prompt", "reference", "completion", "finish")
CONTEXT = 40
"""Characters of text shown before and after an erasure."""


@dataclass(frozen=True)
class Sample:
    """One generation.

    Attributes:
        prompt, reference, completion: texts.
        actions: the text of every action, None where it erases; None where the table has no ``action_texts``.
        finish: "eos", "length" or "actions".
    """

    prompt: str
    reference: str
    completion: str
    actions: tuple[str | None, ...] | None
    finish: str


@dataclass(frozen=True)
class Group:
    """The first samples of one trial under one decoder; ``trial`` is its index in the study."""

    trial: int
    task: str
    trainer: str
    decoder: str
    seed: int
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Erasure:
    """A run of backspaces: the texts before it and after it, cut to what is near, and what it erased.

    ``group`` and ``sample`` say where it is, ``step`` how many actions come before it.
    """

    group: int
    seed: int
    sample: int
    step: int
    depth: int
    before: str
    erased: str
    after: str


@dataclass(frozen=True)
class Audit:
    """The erasures of a trainer under a decoder, in its first samples; ``total`` counts those not listed too."""

    task: str
    trainer: str
    decoder: str
    samples: int
    total: int
    erasures: tuple[Erasure, ...]


def read_groups(store: Store, count: int) -> list[Group]:
    """The first samples of every finished trial and decoder.

    Args:
        store: results folder.
        count: samples of each.

    Raises:
        StoreError: if there is no study, or a file is damaged.
    """
    groups = []
    for index, (entry, record) in enumerate(store.records() if count else ()):
        if record is None or record["status"] != "finished":
            continue
        table = read_arrow(store.trials / entry["label"] / "generations.parquet", *_COLUMNS)
        decoders = table["decoder"].to_pylist()
        for decoder in dict.fromkeys(decoders):
            chosen = [row for row, name in enumerate(decoders) if name == decoder][:count]
            names = (entry["task"]["name"], entry["trainer"]["name"], str(decoder), entry["seed"])
            groups.append(Group(index, *names, tuple(_samples(table, chosen))))
    return groups


def _samples(table: pa.Table, rows: Sequence[int]) -> Iterable[Sample]:
    names = [name for name in (*_COLUMNS, "action_texts") if name in table.column_names]
    for row in table.select(names).take(rows).to_pylist():
        texts = row.get("action_texts")
        actions = None if texts is None else tuple(texts)
        yield Sample(row["prompt"], row["reference"], row["completion"], actions, row["finish"])


def as_json(groups: Sequence[Group]) -> dict[str, Any]:
    """What the sample browser of a page reads.

    Returns:
        ``texts``, each once; and ``groups`` with ``trial, decoder, samples``. A sample is ``[prompt, reference,
        actions, finish]``: the first two are indices into ``texts``, and where the actions are not known, the
        completion takes their place.
    """
    texts = Parts()
    return {
        "groups": [
            {
                "trial": group.trial,
                "decoder": group.decoder,
                "samples": [
                    [
                        texts.add(sample.prompt),
                        texts.add(sample.reference),
                        sample.completion if sample.actions is None else list(sample.actions),
                        sample.finish,
                    ]
                    for sample in group.samples
                ],
            }
            for group in groups
        ],
        "texts": texts.items,
    }


def audits(groups: Sequence[Group]) -> list[Audit]:
    """The erasures of every trainer and decoder that erased anything, in the order of the groups."""
    found = dict[tuple[str, str, str], list[Erasure]]()
    samples = dict[tuple[str, str, str], int]()
    for index, group in enumerate(groups):
        key = group.task, group.trainer, group.decoder
        samples[key] = samples.get(key, 0) + len(group.samples)
        for number, sample in enumerate(group.samples):
            for step, depth, before, erased, after in erasures(sample.actions or ()):
                near = f"{sample.prompt}{before}"[-CONTEXT:], erased, after[:CONTEXT]
                found.setdefault(key, []).append(Erasure(index, group.seed, number, step, depth, *near))
    return [Audit(*key, samples[key], len(all_), tuple(_spread(all_))) for key, all_ in found.items()]


def _spread(found: Sequence[Erasure]) -> list[Erasure]:
    """Of many, those at even distances, so that every seed has some."""
    count = min(AUDITED, len(found))
    return [found[index * len(found) // count] for index in range(count)]


def erasures(actions: Sequence[str | None]) -> Iterable[tuple[int, int, str, str, str]]:
    """The runs of backspaces of a walk.

    Args:
        actions: the text of every action, None where it erases.

    Yields:
        How many actions come before it, its depth, the text that stays, the text that it erases, and what is written
        after it up to the next run or the end.
    """
    visible = list[str]()
    step = 0
    while step < len(actions):
        text = actions[step]
        if text is not None:
            visible.append(text)
            step += 1
            continue
        end = next((later for later in range(step, len(actions)) if actions[later] is not None), len(actions))
        gone, visible = visible[step - end :], visible[: step - end]
        after = next((later for later in range(end, len(actions)) if actions[later] is None), len(actions))
        written = "".join(str(text) for text in actions[end:after])
        yield step, end - step, "".join(visible), "".join(gone), written
        step = end
