"""Sampling from a policy through its key-value cache, with backspace.

The state after ``<bksp>`` is one that was computed before: its logits are kept on a stack, so erasing
costs no forward pass. The cache slot of the erased token becomes a 0 in the ordinary attention mask, and
position ids are explicit, so this works with any causal model and cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainers.decoding import Decoder
    from trainers.policy import Policy

Finish = Literal["eos", "length", "actions"]


@dataclass
class Sample:
    """One generation.

    Attributes:
        actions: every action taken, erased ones and the end included.
        visible: the token ids that are still visible, without the end.
        finish: what ended the walk: the end of the text, or the bound on visible tokens or actions.
    """

    actions: list[int] = field(default_factory=list)
    visible: list[int] = field(default_factory=list)
    finish: Finish | None = None


@torch.no_grad()
def sample(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    decoder: Decoder,
    seed: int,
    *,
    max_new_tokens: int,
    max_actions: int,
    batch_size: int = 64,
    progress: Callable[[int], None] | None = None,
) -> list[Sample]:
    """Draw one sample per prompt.

    Every sample has a random stream of its own (Philox, keyed by ``seed`` and its index), so samples
    depend neither on the batch size nor on the other prompts.

    Args:
        policy: what to sample from; left in the mode (training or not) it was in.
        prompts: token ids, the start token first.
        decoder: warps the logits.
        seed: of the random streams.
        max_new_tokens: a walk ends once this many tokens are visible.
        max_actions: a walk ends after this many actions.
        batch_size: prompts sampled together.
        progress: called with the number of samples done since the last call.

    Raises:
        ValueError: if a bound is not positive, or a prompt leaves no room in the context.
    """
    if max_new_tokens < 1 or max_actions < 1 or batch_size < 1:
        raise ValueError("max_new_tokens, max_actions and batch_size must be at least 1")
    longest = max(map(len, prompts), default=0)
    if longest + max_new_tokens > policy.max_positions:
        raise ValueError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones do not fit into the model's context of "
            f"{policy.max_positions} tokens"
        )
    training = policy.model.training
    policy.model.eval()
    samples: list[Sample] = []
    try:
        for start in range(0, len(prompts), batch_size):
            part = prompts[start : start + batch_size]
            noise = np.stack([_uniforms(seed, start + row, max_actions) for row in range(len(part))])
            samples += _Walk(policy, part, decoder, noise, max_new_tokens).run()
            if progress:
                progress(len(part))
    finally:
        policy.model.train(training)
    return samples


def _uniforms(seed: int, index: int, count: int) -> NDArray[np.float64]:
    return np.random.Generator(np.random.Philox(key=[seed, index])).random(count)


class _Walk:
    """The walks of one batch: rows sit at different lengths and leave the batch when they end."""

    def __init__(
        self,
        policy: Policy,
        prompts: Sequence[Sequence[int]],
        decoder: Decoder,
        noise: NDArray[np.float64],
        max_new_tokens: int,
    ) -> None:
        from transformers import DynamicCache

        self.policy, self.decoder, self.noise, self.max_new_tokens = policy, decoder, noise, max_new_tokens
        self.samples = [Sample() for _ in prompts]
        self.rows = list(range(len(prompts)))
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), policy.actions.start)
        self.alive = torch.zeros(len(prompts), width, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.as_tensor(prompt)
            self.alive[row, width - len(prompt) :] = 1
        self.cache = DynamicCache(config=policy.model.config)
        self.slots: list[list[int]] = [[] for _ in prompts]
        self.start = [len(prompt) for prompt in prompts]
        logits = self._forward(ids, (self.alive.cumsum(1) - 1).clamp(min=0))
        self.stacks = [[row] for row in logits]

    def run(self) -> list[Sample]:
        while True:
            tokens = self._act()
            kept = [index for index, row in enumerate(self.rows) if self.samples[row].finish is None]
            if not kept:
                return self.samples
            if len(kept) < len(self.rows):
                self._keep(kept)
            self._append([tokens[index] for index in kept])

    def _act(self) -> list[int]:
        """Act in every row until it appends a token that needs a forward pass, or ends; return the last actions."""
        last = [0] * len(self.rows)
        pending = list(range(len(self.rows)))
        while pending:
            walks = [self.samples[self.rows[index]] for index in pending]
            logits = torch.stack([self.stacks[index][-1] for index in pending])
            at_root = torch.tensor([not walk.visible for walk in walks])
            uniforms = [
                self.noise[self.rows[index], len(walk.actions)] for index, walk in zip(pending, walks, strict=True)
            ]
            probabilities = self.decoder.probabilities(self.policy.actions.mask(logits, at_root))
            actions = _draw(probabilities, torch.tensor(uniforms)).tolist()
            for index, action in zip(pending, actions, strict=True):
                last[index] = action
                self._take(index, action)
            pending = [
                index
                for index, walk in zip(pending, walks, strict=True)
                if last[index] == self.policy.actions.bksp and walk.finish is None
            ]
        return last

    def _take(self, index: int, action: int) -> None:
        """Change the visible text of one row by one action, and see whether that ends it."""
        sample = self.samples[self.rows[index]]
        sample.actions.append(action)
        if action == self.policy.actions.eos:
            sample.finish = "eos"
        elif action == self.policy.actions.bksp:
            sample.visible.pop()
            self.stacks[index].pop()
            self.alive[index, self.slots[index].pop()] = 0
        else:
            sample.visible.append(action)
            if len(sample.visible) == self.max_new_tokens:
                sample.finish = "length"
        if sample.finish is None and len(sample.actions) == self.noise.shape[1]:
            sample.finish = "actions"

    def _append(self, tokens: list[int]) -> None:
        """Run the model on one new token per row."""
        slot = self.alive.shape[1]
        self.alive = torch.cat([self.alive, torch.ones(len(tokens), 1, dtype=torch.long)], 1)
        positions = [self.start[index] + len(self.samples[row].visible) - 1 for index, row in enumerate(self.rows)]
        logits = self._forward(torch.tensor(tokens)[:, None], torch.tensor(positions)[:, None])
        for index, row in enumerate(logits):
            self.slots[index].append(slot)
            if self.policy.actions.bksp is None:
                self.stacks[index].clear()
            self.stacks[index].append(row)

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        device = self.policy.device
        output = self.policy.model(
            input_ids=ids.to(device),
            attention_mask=self.alive.to(device),
            position_ids=positions.to(device),
            cache=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1].float().cpu()
        return logits

    def _keep(self, kept: list[int]) -> None:
        self.cache.batch_select_indices(torch.tensor(kept, device=self.policy.device))
        self.alive = self.alive[kept]
        self.rows = [self.rows[index] for index in kept]
        self.slots = [self.slots[index] for index in kept]
        self.stacks = [self.stacks[index] for index in kept]
        self.start = [self.start[index] for index in kept]


def _draw(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """Inverse-CDF draws, shape ``(n,)``; an action of probability 0 is never drawn."""
    cumulative = probabilities.cumsum(1)
    drawn = torch.searchsorted(cumulative, uniforms[:, None] * cumulative[:, -1:], right=True)[:, 0]
    last_possible = probabilities.shape[1] - 1 - (probabilities > 0).flip(1).int().argmax(1)
    return torch.minimum(drawn, last_possible)
