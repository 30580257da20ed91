"""Whether two trainings gave the same, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.testing.trainer.subject import Fitted

if TYPE_CHECKING:
    from trainers.policy import Policy


def weights(policy: Policy) -> dict[str, Tensor]:
    """A copy of all parameters and buffers, by name, in the memory of the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in policy.model.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> list[str]:
    """Names of the tensors that are not bit-equal, or that only one side has."""
    both = before.keys() & after.keys()
    return sorted(
        (before.keys() ^ after.keys()) | {name for name in both if not torch.equal(before[name], after[name])}
    )


def largest_change(before: dict[str, Tensor], after: dict[str, Tensor]) -> float:
    """The largest absolute difference over all tensors."""
    return max(float((before[name] - after[name]).abs().max()) for name in before)


def difference(first: Fitted, second: Fitted) -> str:
    """What differs between two trainings: weights or curve, the seconds left out; empty if nothing does."""
    names = changed(weights(first.policy), weights(second.policy))
    if names:
        return f"{len(names)} weights differ, {names[0]} among them"
    for row, (one, other) in enumerate(zip(_timeless(first.rows), _timeless(second.rows), strict=False)):
        if one != other:
            columns = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
            return f"row {row} of the learning curve differs in {', '.join(columns)}"
    if len(first.rows) != len(second.rows):
        return f"the learning curves have {len(first.rows)} and {len(second.rows)} rows"
    return ""


def _timeless(rows: Sequence[dict[str, float]]) -> list[dict[str, str]]:
    """Rows as text, in which one NaN equals another."""
    return [{name: repr(value) for name, value in row.items() if name != "seconds"} for row in rows]
