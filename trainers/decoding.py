"""How actions are drawn from a policy."""

from __future__ import annotations

import math
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
        backspace_bias: multiplies the odds of erasing, before anything else; no effect without ``<bksp>``.
        penalty_alpha: 0 samples; more than 0 is contrastive search (``trainers.contrastive``) among ``top_k``
            candidates, which excludes all other settings and ``<bksp>``, and draws nothing.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    backspace_bias: float = 1.0
    penalty_alpha: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("temperature", 0, float("inf")),
            ("top_k", 0, float("inf")),
            ("min_p", 0, 1),
            ("penalty_alpha", 0, 1),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"decoder: {name} must lie in [{low}, {high}], got {getattr(self, name)}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"decoder: top_p must lie in (0, 1], got {self.top_p}")
        if not 0 < self.backspace_bias < float("inf"):
            raise ValueError(f"decoder: backspace_bias must be positive and finite, got {self.backspace_bias}")
        if self.penalty_alpha:
            if self.top_k < 2:
                raise ValueError(f"decoder: top_k must be at least 2 with penalty_alpha, got {self.top_k}")
            for name, off in (("temperature", 1.0), ("top_p", 1.0), ("min_p", 0.0), ("backspace_bias", 1.0)):
                if getattr(self, name) != off:
                    raise ValueError(f"decoder: {name} has no meaning in contrastive search (penalty_alpha > 0)")

    def serves(self, backspace: bool) -> bool:
        """Whether it can decode policies with (or without) ``<bksp>``."""
        return not (backspace and self.penalty_alpha)

    @property
    def has_distribution(self) -> bool:
        """Whether actions follow a distribution that ``warp`` gives; contrastive search looks at hidden states too."""
        return not self.penalty_alpha

    def warp(self, logits: Tensor, bksp: int | None = None) -> Tensor:
        """Logits whose softmax is the distribution over actions.

        Args:
            logits: shape ``(n, actions)``; impossible actions are -inf.
            bksp: the action that erases, if there is one.

        Returns:
            Tensor of the same shape, -inf where an action is never taken. Float64, but for ancestral sampling,
            which returns the logits as they came.

        Raises:
            ValueError: in contrastive search, which looks at hidden states too.
        """
        import torch
        from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

        if not self.has_distribution:
            raise ValueError("decoder: contrastive search (penalty_alpha > 0) is no warp of logits: it has no density")
        if self.backspace_bias != 1 and bksp is not None:
            logits = logits.double().clone()
            logits[:, bksp] += math.log(self.backspace_bias)
        if self.temperature == 0:
            best = torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1])
            return torch.zeros_like(logits, dtype=torch.float64).masked_fill_(best == 0, -torch.inf)
        if self.temperature == 1 and not self.top_k and self.top_p == 1 and not self.min_p:
            return logits
        logits = logits.double() / self.temperature
        ids = torch.LongTensor(len(logits), 0)
        if self.top_k:
            logits = TopKLogitsWarper(min(self.top_k, logits.shape[-1]))(ids, logits)
        if self.top_p < 1:
            logits = TopPLogitsWarper(self.top_p)(ids, logits)
        if self.min_p:
            logits = MinPLogitsWarper(self.min_p)(ids, logits)
        return logits

    def probabilities(self, logits: Tensor, bksp: int | None = None) -> Tensor:
        """Distribution over actions.

        Args:
            logits: shape ``(n, actions)``; impossible actions are -inf.
            bksp: the action that erases, if there is one.

        Returns:
            float64 tensor of the same shape; rows sum to 1.
        """
        return self.warp(logits, bksp).double().softmax(-1)
