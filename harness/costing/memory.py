"""The memory of a training at its peak: weights, gradients and AdamW exactly, the rest estimated."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from harness.costing.architecture import Architecture
from harness.costing.lengths import Lengths
from harness.costing.work import ROWS, noise_factor, rollouts_of, walk_length
from harness.preparation import instance
from harness.registry import TRAINERS
from harness.trial import Trial
from harness.validation import Key, build

if TYPE_CHECKING:
    from trainers.base import Optimization, Trainer
    from trainers.rollouts import Rollouts


@dataclass(frozen=True)
class Memory:
    """Bytes.

    Attributes:
        weights: of the model, adapters included.
        gradients: of what is trained.
        states: the two moments of AdamW.
        activations: what the backward pass of one micro-batch needs, logits included.
        checkpointed: the same if every layer were computed again on the way back.
        sampling: keys and values of the roll-outs or test prompts, and with ``<bksp>`` the stack of logits.
    """

    weights: int
    gradients: int
    states: int
    activations: int
    checkpointed: int
    sampling: int

    @property
    def static(self) -> int:
        """What is held from the first optimiser step to the last."""
        return self.weights + self.gradients + self.states

    def peak(self, *, checkpointed: bool = False) -> int:
        """The most that is held at a time; gradients are dropped before roll-outs are sampled."""
        training = self.static + (self.checkpointed if checkpointed else self.activations)
        return max(training, self.weights + self.states + self.sampling)


def memory(trial: Trial, lengths: Lengths, model: Architecture) -> Memory:
    """Estimate the memory of a trial, with a micro-batch of the longest examples and the longest roll-outs."""
    from trainers.base import Optimization

    trainer: Trainer = instance(TRAINERS, trial.trainer)
    settings: Optimization = build(Optimization, trial.optimization, Key("optimization"))
    longest = int(lengths.prompts.max())
    rollouts = rollouts_of(trial, trainer)
    sampling = _sampling(trial, lengths, model, trainer, longest, rollouts)
    if not trainer.learns:
        return Memory(model.weight_bytes, 0, 0, 0, 0, sampling)
    actions = ceil(float(lengths.actions.max()) * noise_factor(trainer))
    walk = walk_length(trial, lengths, trainer)
    groups = [
        (ceil(count / settings.accumulation), longest, most)
        for count, most in ((settings.batch_size, actions), (rollouts.batch if rollouts else 0, walk))
        if count
    ]
    casts = model.parameters * 2 if settings.precision != "no" and model.weight_bytes == 4 * model.parameters else 0
    return Memory(
        weights=model.weight_bytes,
        gradients=model.trained_bytes,
        states=2 * model.trained_bytes,
        activations=casts + sum(_activations(model, *group, trainer.backspace, False) for group in groups),
        checkpointed=casts + sum(_activations(model, *group, trainer.backspace, True) for group in groups),
        sampling=sampling,
    )


def layer_bytes(model: Architecture) -> int:
    """What one layer of a Llama keeps of one token for the way back, with an attention that keeps no weights.

    Each norm keeps its input in float32, the normalised form and the result; attention the rotated queries and keys,
    the values and its result; the gated feed-forward layer four inner states.
    """
    norms = 2 * (4 + 2 * model.element) * model.width
    return norms + model.element * (2 * model.width + 2 * model.keys + 4 * model.inner)


def _activations(model: Architecture, rows: int, prompt: int, actions: int, backspace: bool, checkpointed: bool) -> int:
    """Of some trajectories of one length, whose logits are kept once and have a gradient, in float32 both."""
    tokens, layer = rows * (prompt + actions), layer_bytes(model)
    kept = model.layers * model.element * model.width + layer if checkpointed else model.layers * layer
    mask = rows * (prompt + actions) ** 2 * (model.element + 1) if backspace else 0
    return tokens * kept + rows * actions * model.vocabulary * (model.element + 8) + mask


def _sampling(
    trial: Trial, lengths: Lengths, model: Architecture, trainer: Trainer, prompt: int, rollouts: Rollouts | None
) -> int:
    from trainers.generation import STACK_BYTES

    rows: int = max(trial.generation["batch_size"], min(ROWS, rollouts.refresh if rollouts else 0))
    stack = 4 * lengths.new * model.vocabulary if trainer.backspace else 0
    if stack:
        rows = min(rows, max(1, STACK_BYTES // stack))
    cache = 2 * model.layers * model.keys * (prompt + lengths.new) * model.element
    return rows * (cache + stack)
