"""How generations were written: erasing, length, and how they ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from metrics.base import Actions, Judge, KnownAnswer, Metric, MetricContext, MetricError, Value
from metrics.sample_error import by_sample, mean, ratio
from metrics.tabular import TabularPolicy
from metrics.walks import Walk, walk


@dataclass(frozen=True, kw_only=True)
class Trajectories(Metric):
    """Statistics of the actions taken.

    - ``backspace_rate``: backspaces per action, pooled over the table;
    - ``erased_share``: share of texts in which something was erased;
    - ``actions_per_token``: actions per action that counts in the end (a visible token, or the end of sequence):
      1 without backspace, and the price of sampling with it;
    - ``finished_share``: share of texts that end with the end-of-sequence action;
    - ``length_mean``: visible tokens per text;
    - ``wasted_actions``: actions per text that left no trace: each backspace, and the token that it erased.

    From the actions themselves, where the policy is there to say which of them erases, and anything was erased:

    - ``erase_depth``: tokens erased per run of backspaces;
    - ``oscillation``: share of the runs after which the token that had stood there was written again.

    Where the truth is known too, a token is wrong if no right completion begins with the text up to it:

    - ``erased_wrong_share``, ``erased_right_share``: of the erased tokens, those that were wrong, or right;
    - ``erasure_recall``: of the wrong tokens, those that were erased;
    - ``recovered_share``: of the texts in which a wrong token was written, those that are right in the end.

    A share of nothing is left out.
    """

    columns: ClassVar[tuple[str, ...]] = (
        "completion_ids",
        "reference",
        "actions",
        "finish",
        "n_actions",
        "n_backspaces",
    )
    values: ClassVar[Mapping[str, Value]] = {
        "backspace_rate": Value(higher_is_better=None, range=(0, 1), unit="per action"),
        "erased_share": Value(higher_is_better=None, range=(0, 1)),
        "actions_per_token": Value(higher_is_better=None, range=(1, math.inf), unit="per token"),
        "finished_share": Value(higher_is_better=None, range=(0, 1)),
        "length_mean": Value(higher_is_better=None, range=(0, math.inf), unit="tokens"),
        "wasted_actions": Value(higher_is_better=None, range=(0, math.inf), unit="per text"),
        "erase_depth": Value(higher_is_better=None, range=(1, math.inf), unit="tokens"),
        "oscillation": Value(higher_is_better=False, range=(0, 1)),
        "erased_wrong_share": Value(higher_is_better=True, range=(0, 1)),
        "erased_right_share": Value(higher_is_better=False, range=(0, 1)),
        "erasure_recall": Value(higher_is_better=True, range=(0, 1)),
        "recovered_share": Value(higher_is_better=True, range=(0, 1)),
    }

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        self.check(generations, context)
        _check_counts(generations)
        actions, backspaces = generations["n_actions"], generations["n_backspaces"]
        lengths = generations["completion_ids"].map(len)
        finished = generations["finish"] == "eos"
        if not actions.any():
            raise MetricError("Trajectories needs at least one action, but no action was taken in any generation")
        kept = lengths + finished
        statistics: dict[str, float] = {
            "backspace_rate": ratio(backspaces, actions),
            "erased_share": mean(backspaces > 0),
            "finished_share": mean(finished),
            "length_mean": mean(lengths),
            "wasted_actions": mean(2 * backspaces),
        }
        if kept.any():
            statistics["actions_per_token"] = ratio(actions, kept)
        if context.policy is not None:
            walks = _walks(generations, context.policy.actions)
            statistics |= _erasing(walks)
            if context.judge is not None:
                ends = zip(walks, generations["reference"], finished.tolist(), strict=True)
                statistics |= _judged(list(ends), context.judge)
        return statistics

    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        table = pd.DataFrame(
            {
                "completion_ids": [[0, 1], [0]],
                "reference": ["ab", "ab"],
                "actions": [[0, 0, 3, 3, 0, 1, 2], [0]],
                "finish": ["eos", "length"],
                "n_actions": [7, 1],
                "n_backspaces": [2, 0],
            }
        )
        policy = TabularPolicy("ab", lambda _: (0.25,) * 4, backspace=True)

        def judge(ids: Sequence[int], reference: str, ended: bool) -> bool:
            text = "".join("ab"[i] for i in ids)
            return text == reference if ended else reference.startswith(text)

        measured = cls().compute(table, MetricContext(policy=policy, judge=judge))
        expected = {
            "backspace_rate": 2 / 8,
            "erased_share": 1 / 2,
            "actions_per_token": 8 / 4,
            "finished_share": 1 / 2,
            "length_mean": 3 / 2,
            "wasted_actions": 4 / 2,
            "erase_depth": 2 / 1,
            "oscillation": 1,
            "erased_wrong_share": 1 / 2,
            "erased_right_share": 1 / 2,
            "erasure_recall": 1,
            "recovered_share": 1,
        }
        return [KnownAnswer(f"two texts: {name}", measured[name], answer) for name, answer in expected.items()]


def _check_counts(generations: pd.DataFrame) -> None:
    """Raise MetricError unless every action is a visible token, the end, a backspace, or a token that one erased."""
    columns = ["completion_ids", "actions", "finish", "n_actions", "n_backspaces"]
    for row, (ids, taken, finish, actions, backspaces) in enumerate(generations[columns].itertuples(index=False)):
        if not all(isinstance(each, Sized) and not isinstance(each, str | bytes) for each in (ids, taken)):
            raise MetricError(f"row {row} of the generations: completion_ids and actions must be lists of token ids")
        if not (backspaces >= 0 and actions == len(taken) == len(ids) + 2 * backspaces + (finish == "eos")):
            raise MetricError(
                f"row {row} of the generations does not add up: n_actions {actions}, {len(taken)} actions, "
                f"{len(ids)} completion_ids, n_backspaces {backspaces}, finish {finish!r}"
            )


def _walks(generations: pd.DataFrame, actions: Actions) -> list[Walk]:
    walks = []
    for row, taken in enumerate(generations["actions"]):
        try:
            walks.append(walk([int(action) for action in taken], actions))
        except MetricError as error:
            raise MetricError(f"row {row} of the generations: {error}") from error
    return walks


def _erasing(walks: Sequence[Walk]) -> dict[str, float]:
    return _shares(
        {
            "erase_depth": [[each.depth for each in one.erasures] for one in walks],
            "oscillation": [[each.undone for each in one.erasures] for one in walks],
        }
    )


def _judged(ends: Sequence[tuple[Walk, str, bool]], judge: Judge) -> dict[str, float]:
    """Statistics of walks, each with its reference and whether it ended with the end of sequence."""
    right = [[judge(token.text, reference, False) for token in one.tokens] for one, reference, _ in ends]
    erased = [[token.erased for token in one.tokens] for one, _, _ in ends]
    tokens = [list(zip(*each, strict=True)) for each in zip(right, erased, strict=True)]
    return _shares(
        {
            "erased_wrong_share": [[not fine for fine, gone in text if gone] for text in tokens],
            "erased_right_share": [[fine for fine, gone in text if gone] for text in tokens],
            "erasure_recall": [[gone for fine, gone in text if not fine] for text in tokens],
            "recovered_share": [
                [] if all(fine) else [ended and judge(one.text, reference, True)]
                for fine, (one, reference, ended) in zip(right, ends, strict=True)
            ],
        }
    )


def _shares(groups: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, float]:
    """Means over the entries of all texts; what has no entry is left out."""
    found = {name: by_sample(group) for name, group in groups.items()}
    return {name: share for name, share in found.items() if share is not None}
