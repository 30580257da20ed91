"""Generations that a policy could have made, written by hand: any texts, in the columns that metrics read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from trainers.policy import Policy


def written(
    policy: Policy, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str], ended: Sequence[bool]
) -> pd.DataFrame:
    """Generations as a policy that writes these completions at one go leaves them.

    Args:
        policy: its tokenizer encodes them, and its end-of-sequence action ends them.
        prompts: one per row.
        completions: one per row.
        references: one per row.
        ended: whether the end-of-sequence action is taken; those without are cut.

    Returns:
        The columns of ``Policy.generate``, and ``reference``.
    """
    import pandas as pd

    ids = [policy.encode(text) for text in completions]
    actions = [[*each, policy.actions.eos] if end else each for each, end in zip(ids, ended, strict=True)]
    return pd.DataFrame(
        {
            "prompt": list(prompts),
            "completion": list(completions),
            "completion_ids": ids,
            "actions": [list(each) for each in actions],
            "finish": ["eos" if end else "length" for end in ended],
            "n_actions": [len(each) for each in actions],
            "n_backspaces": [0] * len(ids),
            "reference": list(references),
        }
    )
