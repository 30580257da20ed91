"""Random action strings for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from trainers.backspace import BACKSPACE


@st.composite
def action_strings(draw: st.DrawFn, tokens: int = 5, max_size: int = 14, bksp: int = BACKSPACE) -> list[int]:
    """Actions over ``range(tokens)`` and ``bksp``; none erases the prompt."""
    actions: list[int] = []
    depth = 0
    for _ in range(draw(st.integers(0, max_size))):
        erase = depth > 0 and draw(st.booleans())
        actions.append(bksp if erase else draw(st.integers(0, tokens - 1)))
        depth += -1 if erase else 1
    return actions
