"""How generations were written: erasing, length, and how they ended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from metrics.base import KnownAnswer, Metric, MetricContext, MetricError, Value


@dataclass(frozen=True, kw_only=True)
class Trajectories(Metric):
    """Statistics of the actions taken.

    - ``backspace_rate``: backspaces per action, pooled over the table;
    - ``erased_share``: share of texts in which something was erased;
    - ``actions_per_token``: actions per action that counts in the end (a visible token, or the end of sequence):
      1 without backspace, and the price of sampling with it;
    - ``finished_share``: share of texts that end with the end-of-sequence action;
    - ``length_mean``: visible tokens per text.
    """

    columns: ClassVar[tuple[str, ...]] = ("completion_ids", "finish", "n_actions", "n_backspaces")
    values: ClassVar[Mapping[str, Value]] = {
        "backspace_rate": Value(higher_is_better=None, range=(0, 1), unit="per action"),
        "erased_share": Value(higher_is_better=None, range=(0, 1)),
        "actions_per_token": Value(higher_is_better=None, range=(1, math.inf), unit="per token"),
        "finished_share": Value(higher_is_better=None, range=(0, 1)),
        "length_mean": Value(higher_is_better=None, range=(0, math.inf), unit="tokens"),
    }

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        self.check(generations, context)
        actions, backspaces = int(generations["n_actions"].sum()), int(generations["n_backspaces"].sum())
        lengths = generations["completion_ids"].map(len)
        finished = generations["finish"] == "eos"
        if actions == 0:
            raise MetricError("Trajectories needs at least one action, but no action was taken in any generation")
        kept = int(lengths.sum() + finished.sum())
        statistics = {
            "backspace_rate": backspaces / actions,
            "erased_share": float((generations["n_backspaces"] > 0).mean()),
            "finished_share": float(finished.mean()),
            "length_mean": float(lengths.mean()),
        }
        return statistics | ({"actions_per_token": actions / kept} if kept else {})

    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        table = pd.DataFrame(
            {
                "completion_ids": [[5, 6], [5]],
                "finish": ["eos", "length"],
                "n_actions": [7, 1],
                "n_backspaces": [2, 0],
            }
        )
        measured = cls().compute(table, MetricContext())
        expected = {
            "backspace_rate": 2 / 8,
            "erased_share": 1 / 2,
            "actions_per_token": 8 / 4,
            "finished_share": 1 / 2,
            "length_mean": 3 / 2,
        }
        return [KnownAnswer(f"two texts: {name}", measured[name], answer) for name, answer in expected.items()]
