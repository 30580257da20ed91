"""Whether a policy notices an error that was put into a right answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metrics.base import Judge, KnownAnswer, Metric, MetricContext, MetricError, Need, ScoredPolicy, Value
from metrics.sample_error import by_sample
from metrics.tabular import TabularPolicy


@dataclass(frozen=True, kw_only=True)
class InjectedErrors(Metric):
    """Probability of erasing right after an injected error, and right after a right token.

    Probabilities are the policy's own, so the sample error is that of the held-out completions alone.

    Every held-out completion is written up to every place, and there every plausible error of the task is put in that
    makes it wrong. On a finite language ``metrics.exact.Exact`` says more: whether the text is right in the end.

    - ``erase_after_error``: mean probability of backspace right after it, first over the errors at a place, then over
      all places of all completions. Left out where no error is possible.
    - ``erase_after_right``: mean probability of backspace after each token of the completions themselves. Left out
      where they have none.

    Both are 0 for a policy without backspace. They are taken under the decoder of the generations.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"policy", "judge"})
    follows_decoder: ClassVar[bool] = True
    minimum_n: ClassVar[int] = 0
    values: ClassVar[Mapping[str, Value]] = {
        "erase_after_error": Value(higher_is_better=True, range=(0, 1)),
        "erase_after_right": Value(higher_is_better=False, range=(0, 1)),
    }

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        self.check(generations, context)
        assert context.policy is not None
        assert context.judge is not None
        if not 0 < len(context.prompts) == len(context.completions):
            raise MetricError(
                "InjectedErrors needs held-out examples, got "
                f"{len(context.prompts)} prompts and {len(context.completions)} completions"
            )
        errors = _error_ids(context.policy, context.error_tokens)
        after_error: list[list[float]] = []
        after_right: list[list[float]] = []
        for prompt, completion in zip(context.prompts, context.completions, strict=True):
            right = context.policy.encode(completion)
            wrong = _wrong_paths(right, completion, errors, context.judge)
            rows = _erasing(context, prompt, [right, *(path for place in wrong for path in place)])
            after_right.append(rows[0])
            last = iter([row[-1] for row in rows[1:]])
            after_error.append([math.fsum(next(last) for _ in place) / len(place) for place in wrong])
        found = {"erase_after_error": by_sample(after_error), "erase_after_right": by_sample(after_right)}
        return {name: each for name, each in found.items() if each is not None}

    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:

        def table(text: tuple[int, ...]) -> tuple[float, ...]:
            if 1 in text:
                return (0.1, 0, 0, 0.9)
            return (0.5, 0.25, 0, 0.25) if text else (0.5, 0.5, 0, 0)

        policy = TabularPolicy("ab", table, backspace=True)
        context = MetricContext(
            policy=policy,
            judge=lambda ids, reference, _: list(ids) == policy.encode(reference)[: len(ids)],
            error_tokens=("a", "b"),
            prompts=[""],
            completions=["aa"],
        )
        measured = cls().compute(pd.DataFrame(), context)
        after_error, after_right = measured["erase_after_error"], measured["erase_after_right"]
        return [
            KnownAnswer(
                "aa, with b or a third token: erase_after_error", after_error, (0.9 + 0.9 + (0.25 + 0.9) / 2) / 3
            ),
            KnownAnswer("aa: erase_after_right", after_right, 0.25),
        ]


def _error_ids(policy: ScoredPolicy, errors: Sequence[str]) -> list[int]:
    if not errors:
        raise MetricError("InjectedErrors needs a task that names plausible errors (error_tokens)")
    encoded = {error: policy.encode(error) for error in errors}
    for error, ids in encoded.items():
        if len(ids) != 1:
            raise MetricError(f"InjectedErrors: the error {error!r} is {len(ids)} tokens of the policy, not one")
    return [ids[0] for ids in encoded.values()]


def _wrong_paths(right: list[int], reference: str, errors: list[int], judge: Judge) -> list[list[list[int]]]:
    """Per place at which an error is possible, the completion up to there with every error after it."""
    places = (
        [path for error in errors if not judge(path := [*right[:place], error], reference, False)]
        for place in range(len(right) + 1)
    )
    return [paths for paths in places if paths]


def _erasing(context: MetricContext, prompt: str, paths: list[list[int]]) -> list[list[float]]:
    """Probability of backspace after each token of each path."""
    assert context.policy is not None
    bksp = context.policy.actions.bksp
    if bksp is None:
        return [[0.0] * len(path) for path in paths]
    length = max(map(len, paths))
    # What follows a path does not change what is likely before it, so a shorter path is filled up with any token.
    filled: NDArray[np.int64] = np.array([path + paths[-1][:1] * (length - len(path)) for path in paths], np.int64)
    rows = context.policy.path_probabilities(prompt, filled.reshape(len(paths), length), context.decoder)
    return [row[1 : len(path) + 1].tolist() for row, path in zip(rows[:, :, bksp], paths, strict=True)]
