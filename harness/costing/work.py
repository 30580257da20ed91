"""The tokens and FLOPs of a training, counted by the meter that will count them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

from harness.costing.lengths import Lengths
from harness.errors import StudyError, one_line
from harness.preparation import instance
from harness.registry import TRAINERS
from harness.seeding import axis_seed
from harness.trial import Trial
from harness.validation import Key, build

if TYPE_CHECKING:
    from trainers.base import Budget, Optimization, Trainer
    from trainers.rollouts import Rollouts

ROWS = 64
"""Roll-outs sampled together, see ``trainers.generation.sample``."""


@dataclass(frozen=True)
class Work:
    """What a training spends.

    Attributes:
        tokens: read in training.
        sampled: drawn in training.
        flops: as ``trainers.base.Meter`` counts them.
        sampling_flops: the part of them that is sampling.
        passes: forward passes of sampling, each of up to ``ROWS`` tokens.
    """

    tokens: int = 0
    sampled: int = 0
    flops: float = 0.0
    sampling_flops: float = 0.0
    passes: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.tokens + other.tokens,
            self.sampled + other.sampled,
            self.flops + other.flops,
            self.sampling_flops + other.sampling_flops,
            self.passes + other.passes,
        )


def noise_factor(trainer: Trainer) -> float:
    """Actions of a noised trajectory per action of the data, in the mean: each noise token is erased again."""
    from trainers.noised import NoisedTrainer

    rate = trainer.noise if isinstance(trainer, NoisedTrainer) else 0.0
    return 1 + 2 * rate / (1 - rate)


def rollouts_of(trial: Trial, trainer: Trainer) -> Rollouts | None:
    """When the trainer of a trial samples its policy.

    Raises:
        StudyError: if the trainer fails to say.
    """
    from trainers.base import Optimization

    try:
        return trainer.rollouts(build(Optimization, trial.optimization, Key("optimization")), trial.budget["steps"])
    except Exception as error:
        raise StudyError(f"trainer {trial.trainer.name!r} does not say what it samples: {one_line(error)}") from error


def owns_loop(trainer: Trainer) -> bool:
    """Whether a trainer trains in a loop of its own, which can spend what it likes."""
    from trainers.base import Trainer

    return trainer.learns and type(trainer).fit is not Trainer.fit


def work(trial: Trial, lengths: Lengths, parameters: int, *, most: bool) -> Work:
    """Go through the optimiser steps of a trial as the shared loop will.

    Without noise and roll-outs the numbers are exact. Noise is taken at its mean, and roll-outs are as long as the
    data in the mean, or with ``most`` as long as they may get.

    Args:
        trial: what is trained.
        lengths: of its examples.
        parameters: of its model.
        most: roll-outs as long as they may get.
    """
    from trainers.base import Budget, Meter, Optimization
    from trainers.noised import NoisedTrainer
    from trainers.order import index_batches

    trainer: Trainer = instance(TRAINERS, trial.trainer)
    if not trainer.learns:
        return Work()
    budget: Budget = replace(build(Budget, trial.budget, Key("budget")), seconds=None)
    settings: Optimization = build(Optimization, trial.optimization, Key("optimization"))
    data = lengths.prompts + lengths.actions * noise_factor(trainer)
    rollouts = rollouts_of(trial, trainer)
    walk = walk_length(trial, lengths, trainer) if most else min(float(lengths.actions.mean()), lengths.new)
    own = (float(lengths.prompts.mean()) + walk) * (rollouts.batch if rollouts else 0)
    reads = isinstance(trainer, NoisedTrainer) and trainer.noise_kind == "policy"
    meter, passes, sampling = Meter(parameters=parameters), 0, Meter(parameters=parameters)
    batches = index_batches(len(data), settings.batch_size, axis_seed(trial.seed, "order"))
    for step, indices in enumerate(batches):
        if meter.exhausted(budget):
            break
        if reads:
            meter.read(int((lengths.prompts + lengths.actions)[indices].sum()))
        if rollouts and rollouts.due(step):
            sampled = round(rollouts.refresh * walk)
            meter.sample(sampled)
            sampling.sample(sampled)
            passes += ceil(rollouts.refresh / ROWS) * ceil(walk)
        meter.train(round(float(data[indices].sum()) + (own if rollouts and rollouts.wanted(step) else 0)))
    return Work(meter.tokens, meter.generated_tokens, meter.flops, sampling.flops, passes)


def walk_length(trial: Trial, lengths: Lengths, trainer: Trainer) -> int:
    """The most actions of a roll-out: without ``<bksp>`` every action but the end of the text leaves a token."""
    cut = int(lengths.new * trial.generation["max_actions_per_token"])
    return cut if trainer.backspace else min(lengths.new, cut)
