"""Checks of the settings of a task, with messages that name the field."""

from __future__ import annotations

from tasks.base import Split, Task, TaskError

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def require_whole(task: Task, *names: str, low: int = 1, high: int | None = None) -> None:
    """Check that fields of a task are whole numbers within bounds.

    Args:
        task: whose fields are checked.
        names: the fields.
        low: smallest value allowed.
        high: largest value allowed; None: no bound.

    Raises:
        TaskError: naming the first field that is something else.
    """
    for name in names:
        value = getattr(task, name)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or value < low or (high is not None and value > high):
            bounds = f"at least {low}" if high is None else f"from {low} to {high}"
            raise TaskError(f"{type(task).__name__}: {name} must be a whole number, {bounds}, got {value!r}")


def split_number(split: str) -> int:
    """Return the place of a split in ``SPLITS``, which also separates the random streams of the splits.

    Raises:
        TaskError: if there is no such split.
    """
    if split not in SPLITS:
        raise TaskError(f"there is no split {split!r}; the splits are {', '.join(SPLITS)}")
    return SPLITS.index(split)
