"""Contrastive search (Su et al. 2022, arXiv 2202.06417): probable tokens whose states repeat no earlier state.

With p the policy's probability, h the last hidden state and the candidates the k most probable actions, the next
action is the candidate v that maximises

    (1 - alpha) p(v) - alpha max_j cos(h_v, h_j)

where h_v is the state after v, and j runs over all tokens of prompt and text. The end of the text is a candidate
like any other. Nothing is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import normalize

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.decoding import Decoder
    from trainers.generation import Sample
    from trainers.policy import Policy


def contrastive_search(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    decoder: Decoder,
    max_new_tokens: int,
    max_actions: int,
    batch_size: int,
    progress: Callable[[int], None] | None,
) -> list[Sample]:
    """Write one text per prompt.

    Args:
        policy: what to write with, in evaluation mode.
        prompts: token ids, the start token first.
        decoder: its ``penalty_alpha`` and ``top_k`` are alpha and k.
        max_new_tokens: bounds the text.
        max_actions: bounds the walk.
        batch_size: candidates that pass through the model together.
        progress: called with the number of texts done since the last call.

    Raises:
        ValueError: if the policy can erase: it would write and erase the same token for ever.
    """
    if not decoder.serves(policy.actions.bksp is not None):
        raise ValueError("decoder: penalty_alpha (contrastive search) needs a policy without <bksp>")
    count = max(1, batch_size // decoder.top_k)
    found: list[Sample] = []
    for start in range(0, len(prompts), count):
        found += _Search(policy, prompts[start : start + count], decoder, max_new_tokens).run(
            max_new_tokens, max_actions
        )
        if progress:
            progress(min(count, len(prompts) - start))
    return found


class _Search:
    """One batch of n texts; row ``c n + i`` of the cache holds candidate c of text i."""

    def __init__(self, policy: Policy, prompts: Sequence[Sequence[int]], decoder: Decoder, max_new_tokens: int) -> None:
        from trainers.slots import SlotModel

        self.actions, self.alpha = policy.actions, decoder.penalty_alpha
        self.k, n = min(decoder.top_k, self.actions.size), len(prompts)
        capacity = max(map(len, prompts)) + max_new_tokens
        self.model = SlotModel(policy.model, self.k * n, capacity)
        self.walks: list[list[int]] = [[] for _ in prompts]
        self.rows = np.arange(n)
        self.length = np.array([len(prompt) for prompt in prompts])
        memory = None
        if self.length.max() > 1:
            heads = [prompt[:-1] or prompt for prompt in prompts]
            memory = _states(self.model.prefill(np.arange(n), heads, output_hidden_states=True))
        last = np.array([prompt[-1] for prompt in prompts])
        output = self.model.step(last, self.length - 1, output_hidden_states=True)
        state = _states(output)[:, -1]
        self.memory = state.new_zeros(n, capacity, state.shape[-1])
        if memory is not None:
            self.memory[:, : memory.shape[1]] = memory
        self.memory[torch.arange(n), torch.from_numpy(self.length - 1)] = state
        self.logits = output.logits[:, -1].float()
        self._spread(np.arange(n))

    def run(self, max_new_tokens: int, max_actions: int) -> list[Sample]:
        from trainers.generation import Sample

        bound = min(max_new_tokens, max_actions)
        while len(self.rows):
            for row, action in zip(self.rows.tolist(), self._step(), strict=True):
                self.walks[row].append(action)
            walks = [self.walks[row] for row in self.rows]
            kept = np.flatnonzero([walk[-1] != self.actions.eos and len(walk) < bound for walk in walks])
            if len(kept) < len(self.rows):
                self._spread(kept)
        return [Sample.of(walk, self.actions, max_new_tokens) for walk in self.walks]

    def _step(self) -> list[int]:
        """Choose the next action of every text; its state joins memory and cache."""
        n = len(self.rows)
        at_root = torch.zeros(n, dtype=torch.bool, device=self.logits.device)
        shares, candidates = self.actions.mask(self.logits, at_root).softmax(1).topk(self.k)
        length = torch.from_numpy(self.length).to(shares.device)
        output = self.model.step(
            candidates.T.flatten().cpu().numpy(), np.tile(self.length, self.k), output_hidden_states=True
        )
        states = _states(output).view(self.k, n, -1)
        likeness = torch.einsum("knw,nlw->nkl", states, self.memory)
        unwritten = torch.arange(self.memory.shape[1], device=shares.device) >= length[:, None]
        worst = likeness.masked_fill(unwritten[:, None], -torch.inf).amax(2)
        scores = (1 - self.alpha) * shares - self.alpha * worst
        chosen = scores.masked_fill(shares == 0, -torch.inf).argmax(1)
        text = torch.arange(n, device=shares.device)
        self.memory[text, length] = states[chosen, text]
        self.logits = output.logits.view(self.k, n, -1)[chosen, text].float()
        self.model.copy((chosen * n + text).repeat(self.k), torch.arange(self.k * n), length.repeat(self.k))
        self.length += 1
        actions: list[int] = candidates[text, chosen].tolist()
        return actions

    def _spread(self, kept: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """Keep some texts, and give each of their candidates the cache of the first."""
        index = torch.from_numpy(kept)
        if len(kept):
            self.model.copy(
                index.repeat(self.k), torch.arange(self.k * len(kept)), slice(0, int(self.length[kept].max()))
            )
        self.rows, self.length = self.rows[kept], self.length[kept]
        self.logits, self.memory = self.logits[index], self.memory[index]


def _states(output: Any) -> Tensor:
    """Last hidden states of unit length, shape ``(rows, tokens, width)``."""
    return normalize(output.hidden_states[-1].float(), dim=-1)
