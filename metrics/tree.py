"""The tree of all texts over an alphabet, with what a policy does at each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics.base import MetricError, ScoredPolicy

Levels = list[NDArray[np.float64]]
"""One array per number of visible tokens, its rows the texts in lexicographic order."""

MAX_NODES = 2_000_000
CHUNK_ELEMENTS = 2**24


@dataclass(frozen=True)
class TextTree:
    """What a policy does at every text of fewer than ``depth`` tokens over an alphabet of k symbols.

    Attributes:
        append: probability of each symbol, level t of shape ``(k**t, k)``.
        end: probability of the end of sequence, level t of shape ``(k**t,)``.
        erase: probability of backspace, likewise; 0 at the root.
        other: probability of visible tokens outside the alphabet, likewise.
    """

    append: Levels
    end: Levels
    erase: Levels
    other: Levels

    @property
    def depth(self) -> int:
        """Visible tokens at which a text is cut."""
        return len(self.end)


def text_tree(policy: ScoredPolicy, alphabet: Sequence[str], depth: int, decoder: Any = None) -> TextTree:
    """Ask a policy for its distribution at every text of fewer than ``depth`` tokens, from an empty prompt.

    Args:
        policy: the policy; each symbol must be one of its tokens.
        alphabet: k different symbols.
        depth: at least 1.
        decoder: passed through to the policy.

    Returns:
        The tree, of ``1 + k + ... + k**(depth - 1)`` nodes.

    Raises:
        MetricError: if a symbol is not one token of its own, the tree has more than ``MAX_NODES`` nodes, the
            policy returns something that is not a distribution or erases at the root, or a policy with backspace
            may write tokens outside the alphabet (those texts are not in the tree, so neither are the ways back).
    """
    tokens = _tokens(policy, alphabet)
    width = len(tokens)
    if depth < 1:
        raise MetricError(f"the tree of texts needs a depth of at least one token, got {depth}")
    nodes = depth if width == 1 else (width**depth - 1) // (width - 1)
    if nodes > MAX_NODES:
        raise MetricError(
            f"the tree of texts of fewer than {depth} tokens over {width} symbols has {nodes} nodes, more than "
            f"{MAX_NODES}: lower max_new_tokens or use a smaller language"
        )
    sizes = [width**level for level in range(depth)]
    append = [np.empty((size, width)) for size in sizes]
    end, erase, other = ([np.zeros(size) for size in sizes] for _ in range(3))
    eos, bksp = policy.actions.eos, policy.actions.bksp
    special = [eos] if bksp is None else [eos, bksp]
    start, chunk = 0, 1
    while start < sizes[-1]:
        index = np.arange(start, min(start + chunk, sizes[-1]))
        paths = tokens[index[:, None] // width ** np.arange(depth - 2, -1, -1) % width]
        rows = policy.path_probabilities("", paths, decoder)
        _check_distributions(rows, (len(index), depth))
        rows = rows / rows.sum(-1, keepdims=True)
        outside = np.setdiff1d(np.arange(rows.shape[-1]), [*tokens, *special])
        for level in range(depth):
            stride = sizes[-1] // sizes[level]
            first = index % stride == 0
            node = index[first] // stride
            append[level][node] = rows[first, level][:, tokens]
            end[level][node] = rows[first, level, eos]
            other[level][node] = rows[first, level][:, outside].sum(-1)
            if bksp is not None:
                erase[level][node] = rows[first, level, bksp]
        start, chunk = start + len(index), max(1, CHUNK_ELEMENTS // (depth * rows.shape[-1]))
    if erase[0][0] > 0:
        raise MetricError(f"the policy erases the prompt with probability {erase[0][0]}: backspace is impossible there")
    strays = max(level.max() for level in other)
    if bksp is not None and strays > 0:
        raise MetricError(
            f"the policy has backspace and writes tokens outside the alphabet with probability up to {strays:.3g}: "
            "its final texts cannot be enumerated; use a tokenizer whose tokens are the alphabet"
        )
    return TextTree(append, end, erase, other)


def _tokens(policy: ScoredPolicy, alphabet: Sequence[str]) -> NDArray[np.int64]:
    encoded = {symbol: policy.encode(symbol) for symbol in alphabet}
    for symbol, ids in encoded.items():
        if len(ids) != 1:
            raise MetricError(f"symbol {symbol!r} of the language is not one token of the policy but {ids}")
    tokens = [ids[0] for ids in encoded.values()]
    if len({*tokens, policy.actions.eos, policy.actions.bksp}) != len(alphabet) + 2 or not tokens:
        raise MetricError(
            f"the {len(alphabet)} symbols of the language need tokens of their own, different from the end of "
            f"sequence and backspace, but the policy encodes them as {tokens}"
        )
    return np.array(tokens)


def _check_distributions(rows: NDArray[np.float64], shape: tuple[int, int]) -> None:
    if rows.shape[:2] != shape:
        raise MetricError(f"the policy returned probabilities of shape {rows.shape} for {shape} states")
    if not np.isfinite(rows).all() or (rows < 0).any() or np.abs(rows.sum(-1) - 1).max() > 1e-6:
        raise MetricError("the policy returned rows that are not distributions: negative, not finite, or not of sum 1")
