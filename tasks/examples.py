"""The table of examples that every task returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import Dataset


def examples_table(prompts: Sequence[str], completions: Sequence[str], *, finished: bool) -> Dataset:
    """Return examples as a table.

    Args:
        prompts: one per example.
        completions: one per example.
        finished: whether the completions end with the end-of-sequence action.

    Returns:
        Columns ``prompt``, ``completion`` (strings) and ``finished`` (bool).
    """
    from datasets import Dataset, Features, Value

    columns = {
        "prompt": list(prompts),
        "completion": list(completions),
        "finished": [finished] * len(prompts),
    }
    features = Features({"prompt": Value("string"), "completion": Value("string"), "finished": Value("bool")})
    return Dataset.from_dict(columns, features=features)
