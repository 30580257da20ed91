"""How actions are drawn from a policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """Warps logits before an action is drawn; the defaults are ancestral sampling.

    Attributes:
        temperature: divides the logits; 0 is greedy decoding. Note that a policy without memory that
            decodes greedily and erases a token will write and erase it for ever: the walk's bound ends it.
        top_k: keep the k most probable actions; 0 keeps all.
        top_p: keep the smallest set of actions with this much probability (Holtzman et al. 2020).
        min_p: keep actions at least this share as probable as the best one (Nguyen et al. 2024).
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (("temperature", 0, float("inf")), ("top_k", 0, float("inf")), ("min_p", 0, 1)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"decoder: {name} must lie in [{low}, {high}], got {getattr(self, name)}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"decoder: top_p must lie in (0, 1], got {self.top_p}")

    def probabilities(self, logits: Tensor) -> Tensor:
        """Distribution over actions.

        Args:
            logits: shape ``(n, actions)``; impossible actions are -inf.

        Returns:
            float64 tensor of the same shape; rows sum to 1.
        """
        import torch
        from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

        logits = logits.double()
        if self.temperature == 0:
            return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).double()
        logits = logits / self.temperature
        ids = torch.LongTensor(len(logits), 0)
        if self.top_k:
            logits = TopKLogitsWarper(min(self.top_k, logits.shape[-1]))(ids, logits)
        if self.top_p < 1:
            logits = TopPLogitsWarper(self.top_p)(ids, logits)
        if self.min_p:
            logits = MinPLogitsWarper(self.min_p)(ids, logits)
        return logits.softmax(-1)
