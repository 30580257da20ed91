"""Sampling from a policy through its key-value cache, with backspace and continuous batching.

The state after ``<bksp>`` is one that was computed before: its logits are kept on a stack, so erasing costs no
forward pass. Rows sit at different lengths; those that end leave the batch at once, and waiting prompts take
their place.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from trainers.backspace import visible
from trainers.modes import evaluation_mode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainers.actions import ActionSpace
    from trainers.decoding import Decoder
    from trainers.noise import NoisySteps
    from trainers.policy import Policy

Finish = Literal["eos", "length", "actions"]

STACK_BYTES = 2**30
"""Most memory for the logits of visible states; fewer rows are sampled together where they need more."""

REFILL = 4
"""Prompts that need a prefill are taken in once one row in so many is free: one pass for several is cheaper."""


@dataclass(frozen=True)
class Sample:
    """One generation.

    Attributes:
        actions: every action taken, erased ones and the end included.
        visible: the token ids that are still visible, without the end.
        finish: what ended the walk: the end of the text, or the bound on visible tokens or actions.
    """

    actions: list[int]
    visible: list[int]
    finish: Finish

    @classmethod
    def of(cls, actions: list[int], space: ActionSpace, max_new_tokens: int) -> Sample:
        """The sample of a walk that is over."""
        ended = actions[-1] == space.eos
        text = visible(actions[:-1] if ended else actions, space.bksp)
        return cls(actions, text, "eos" if ended else "length" if len(text) == max_new_tokens else "actions")


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
    noise: NoisySteps | None = None,
    streams: Sequence[int] | None = None,
) -> list[Sample]:
    """Draw one sample per prompt.

    Every sample has a random stream of its own (Philox, keyed by ``seed`` and its index), so samples
    depend neither on the batch size nor on the other prompts, and processes may share them out.

    Args:
        policy: what to sample from; left in the mode (training or not) it was in.
        prompts: token ids, the start token first.
        decoder: warps the logits, or selects contrastive search, which draws nothing.
        seed: of the random streams.
        max_new_tokens: a walk ends once this many tokens are visible.
        max_actions: a walk ends after this many actions.
        batch_size: prompts sampled together.
        progress: called with the number of samples done since the last call.
        noise: steps at which the environment acts instead of the policy; None: it never does.
        streams: the indices of the samples; None: 0, 1, 2, ...

    Raises:
        ValueError: if a bound is not positive, a prompt leaves no room in the context, or contrastive search is
            asked of a policy that erases.
    """
    if max_new_tokens < 1 or max_actions < 1 or batch_size < 1:
        raise ValueError("max_new_tokens, max_actions and batch_size must be at least 1")
    longest = max(map(len, prompts), default=0)
    if longest + max_new_tokens > policy.max_positions:
        raise ValueError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones do not fit into the model's context of "
            f"{policy.max_positions} tokens"
        )
    if not prompts:
        return []
    with evaluation_mode(policy.model):
        if decoder.penalty_alpha:
            from trainers.contrastive import contrastive_search

            return contrastive_search(policy, prompts, decoder, max_new_tokens, max_actions, batch_size, progress)
        keys = range(len(prompts)) if streams is None else streams
        walks = _Walks(policy, prompts, decoder, seed, max_new_tokens, max_actions, batch_size, noise, keys)
        return walks.run(progress)


class _Walks:
    """The walks of all prompts; rows ``0 .. n - 1`` of the arrays are under way, the others are free.

    ``sample`` is the prompt of a row, ``start`` the position of the prompt's last token, ``depth`` the number of
    visible tokens after it, ``count`` the number of actions taken, ``log`` the actions, ``token`` the next to feed,
    ``uniforms`` the random numbers, one per action.
    """

    def __init__(
        self,
        policy: Policy,
        prompts: Sequence[Sequence[int]],
        decoder: Decoder,
        seed: int,
        max_new_tokens: int,
        max_actions: int,
        batch_size: int,
        environment: NoisySteps | None,
        streams: Sequence[int],
    ) -> None:
        from trainers.slots import SlotModel

        self.streams = streams
        self.actions, self.decoder, self.prompts, self.seed = policy.actions, decoder, prompts, seed
        self.max_new_tokens, self.max_actions, self.environment = max_new_tokens, max_actions, environment
        self.size = min(batch_size, len(prompts))
        if self.actions.bksp is not None:
            self.size = min(self.size, max(1, STACK_BYTES // (4 * max_new_tokens * self.actions.size)))
        self.model = SlotModel(policy.model, self.size, max(map(len, prompts)) + max_new_tokens - 1)
        device = self.model.device
        never = torch.tensor(False, device=device)
        self.impossible = self.actions.mask(torch.zeros(self.actions.size, device=device), never)
        if self.actions.bksp is not None:
            self.stack = torch.empty(self.size * max_new_tokens, self.actions.size, device=device)
        self.n, self.waiting = 0, 0
        self.sample, self.start, self.depth, self.count, self.token = np.zeros((5, self.size), np.int64)
        self.log = np.zeros((self.size, max_actions), np.int64)
        self.uniforms = np.zeros((self.size, max_actions))
        self.found = dict[int, Sample]()

    def run(self, progress: Callable[[int], None] | None) -> list[Sample]:
        holes = np.zeros(0, np.int64)
        while True:
            holes = self._admit(holes)
            if len(holes):
                self._close(holes)
            if not self.n:
                return [self.found[index] for index in range(len(self.prompts))]
            holes = self._act(self._logits())
            if len(holes) and progress:
                progress(len(holes))

    def _admit(self, holes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give free rows, holes first, to waiting prompts, unless it is better to wait; return holes that remain."""
        free = np.concatenate([holes, np.arange(self.n, self.size)])
        taken = self.prompts[self.waiting : self.waiting + len(free)]
        if not taken or (len(taken[0]) > 1 and len(free) * REFILL < self.size):
            return holes
        rows = free[: len(taken)]
        for row, index, prompt in zip(rows.tolist(), itertools.count(self.waiting), taken, strict=False):
            self.sample[row], self.token[row], self.start[row] = index, prompt[-1], len(prompt) - 1
            stream = np.random.Philox(key=[self.seed, self.streams[index]])
            self.uniforms[row] = np.random.Generator(stream).random(self.max_actions)
        self.depth[rows] = self.count[rows] = 0
        self.waiting += len(taken)
        self.n += max(0, len(taken) - len(holes))
        if any(len(prompt) > 1 for prompt in taken):
            self.model.prefill(rows, [prompt[:-1] or prompt for prompt in taken])
        return holes[len(taken) :]

    def _logits(self) -> Tensor:
        """Logits of every row's state, impossible actions masked, shape ``(n, actions)``."""
        depth = self.depth[: self.n]
        logits = self.model.logits(self.token[: self.n], self.start[: self.n] + depth).float().add_(self.impossible)
        if self.actions.bksp is not None:
            if not depth.all():
                logits[torch.from_numpy(np.flatnonzero(depth == 0)), self.actions.bksp] = -torch.inf
            self.stack.index_copy_(0, self._stacked(np.arange(self.n)), logits)
        return logits

    def _stacked(self, rows: NDArray[np.int64]) -> Tensor:
        """Where the stack holds the logits of the rows' states."""
        return torch.from_numpy(rows * self.max_new_tokens + self.depth[rows]).to(self.model.device)

    def _act(self, logits: Tensor) -> NDArray[np.int64]:
        """Act in every row until it appends a token or ends; return the rows that ended."""
        rows = np.arange(self.n)
        gone: list[int] = []
        while True:
            uniforms = torch.from_numpy(self.uniforms[rows, self.count[rows]]).to(logits.device)
            warped = self.decoder.warp(logits, self.actions.bksp)
            if self.environment is not None:
                warped = self.environment.override(warped, logits, self.sample[rows], self.count[rows])
            actions = draw(warped, uniforms).cpu().numpy()
            self.log[rows, self.count[rows]] = self.token[rows] = actions
            self.count[rows] += 1
            ended = actions == self.actions.eos
            erased = actions == (-1 if self.actions.bksp is None else self.actions.bksp)
            self.depth[rows] += 1 - ended - 2 * erased
            over = ended | (self.depth[rows] == self.max_new_tokens) | (self.count[rows] == self.max_actions)
            if over.any():
                gone.extend(rows[over].tolist())
            rows = rows[erased & ~over]
            if not len(rows):
                break
            logits = self.stack.index_select(0, self._stacked(rows))
        for row in gone:
            self._finish(row)
        return np.array(sorted(gone), np.int64)

    def _finish(self, row: int) -> None:
        """Keep the sample of a row that ended."""
        actions = self.log[row, : self.count[row]].tolist()
        self.found[int(self.sample[row])] = Sample.of(actions, self.actions, self.max_new_tokens)

    def _close(self, holes: NDArray[np.int64]) -> None:
        """Move the last rows into the holes."""
        stays = np.setdiff1d(np.arange(self.n), holes)
        self.n = len(stays)
        target, source = holes[holes < self.n], stays[stays >= self.n]
        if not len(target):
            return
        for array in (self.sample, self.start, self.depth, self.count, self.token, self.log, self.uniforms):
            array[target] = array[source]
        to, of = torch.from_numpy(target), torch.from_numpy(source)
        self.model.copy(of, to, slice(0, int((self.start + self.depth)[target].max())))
        if self.actions.bksp is not None:
            stack, deepest = self.stack.view(self.size, self.max_new_tokens, -1), int(self.depth[target].max())
            stack[to, :deepest] = stack[of, :deepest]


def draw(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Draw by inverting the cumulative distribution; an action of logit -inf is never drawn.

    Args:
        logits: shape ``(n, actions)``.
        uniforms: float64 in [0, 1), shape ``(n,)``.

    Returns:
        Actions, shape ``(n,)``.
    """
    # In place: the other way makes a second array of this size, whose pages cost more than the sum.
    cumulative = logits.softmax(1).double().cumsum_(1)
    return torch.searchsorted(cumulative, uniforms[:, None] * cumulative[:, -1:], right=True)[:, 0]
