"""The action space of a policy: which actions there are, and where each is possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

BACKSPACE_TOKEN = "<bksp>"  # noqa: S105


@dataclass(frozen=True, kw_only=True)
class ActionSpace:
    """Actions are token ids: append one, end the text, or erase the last visible token.

    Attributes:
        size: number of logits of the model.
        start: token that every prompt begins with.
        eos: ends the text.
        bksp: erases the last visible token; None where the space has no such action.
        forbidden: ids that are never an action (padding, begin tokens, ids without a token).
    """

    size: int
    start: int
    eos: int
    bksp: int | None
    forbidden: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, size: int, start_token: str | None, backspace: bool) -> ActionSpace:
        """Read the action space off a tokenizer.

        Args:
            tokenizer: must have an end token; has ``<bksp>`` where ``backspace`` is set.
            size: number of logits of the model.
            start_token: token that prompts begin with; None: the begin token, or else the end token.
            backspace: whether ``<bksp>`` is an action.

        Raises:
            ValueError: if the tokenizer lacks the end token or the start token.
        """
        eos = tokenizer.eos_token_id
        if eos is None:
            raise ValueError("the tokenizer has no end-of-sequence token: set tokenizer.eos_token")
        start = tokenizer.bos_token_id if start_token is None else tokenizer.get_vocab().get(start_token)
        if start is None and start_token is not None:
            raise ValueError(f"start_token {start_token!r} is not in the tokenizer's vocabulary")
        start = eos if start is None else start
        special = {tokenizer.pad_token_id, tokenizer.bos_token_id, start} - {None, eos}
        return cls(
            size=size,
            start=start,
            eos=eos,
            bksp=tokenizer.get_vocab()[BACKSPACE_TOKEN] if backspace else None,
            forbidden=tuple(sorted(special | set(range(len(tokenizer), size)))),
        )

    @property
    def appendable(self) -> tuple[int, ...]:
        """Ids of the actions that append a visible token."""
        other = {self.eos, self.bksp, *self.forbidden}
        return tuple(token for token in range(self.size) if token not in other)

    def mask(self, logits: Tensor, at_root: Tensor) -> Tensor:
        """Set the logits of impossible actions to -inf.

        Args:
            logits: shape ``(..., size)``.
            at_root: bool, shape ``(...)``: only the prompt is visible, so nothing can be erased.

        Returns:
            Masked logits of the same shape.
        """
        # One pass over the logits; masked_fill with a broadcast mask takes four times as long on a CPU.
        never = torch.zeros(self.size, dtype=logits.dtype, device=logits.device)
        never[list(self.forbidden)] = -torch.inf
        masked = logits + never
        if self.bksp is not None:
            masked[..., self.bksp].masked_fill_(at_root, -torch.inf)
        return masked


def actions_of(token_ids: Sequence[int], space: ActionSpace, finished: bool) -> tuple[int, ...]:
    """The expert's actions that write a completion: its tokens, then the end where it is finished."""
    return (*token_ids, space.eos) if finished else tuple(token_ids)
