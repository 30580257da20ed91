"""The training loop that all trainers share."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import torch

from trainers.base import Budget, Context, Trainer, TrainerError
from trainers.batches import trajectories_of
from trainers.checkpoints import Checkpoints
from trainers.optimizing import Drawn, Optimizing
from trainers.order import index_batches
from trainers.processes import Processes
from trainers.replay import ReplayBuffer

if TYPE_CHECKING:
    from datasets import Dataset

    from trainers.policy import Policy
    from trainers.training_state import TrainingState


def train(trainer: Trainer, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
    """Minimise ``trainer.loss`` with AdamW, linear warm-up, cosine decay and clipped gradients.

    Losses are summed over action steps; gradients of all micro-batches are added up and divided by the
    number of steps once, so accumulation does not change the result. Micro-batches are made of trajectories
    of similar length, which saves padding. In a launch of several processes each takes its micro-batches of every
    step, and all hold the same weights at any time; the clock of the first decides when training ends.

    Args:
        trainer: supplies ``loss`` and the methods beside it.
        policy: trained in place.
        examples: columns ``prompt``, ``completion``, ``finished``.
        budget: the first limit reached ends training; the schedule is laid out over ``budget.steps``.
        context: seeds, settings and clocks.

    Returns:
        The policy.

    Raises:
        TrainerError: if there are no examples, a step has no action to learn from, a loss is not finite, a batch
            has fewer examples than micro-batches, ``prepare`` leaves fewer than there are processes, or these do not
            start from the same state.
    """
    with trainer.learner(policy, examples, context) as learner:
        return _train(learner, policy, examples, budget, context)


def _train(trainer: Trainer, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
    settings, meter, processes = context.optimization, context.meter, Processes.present()
    if settings.accumulation * processes.size > settings.batch_size:
        raise TrainerError(
            f"a batch of {settings.batch_size} cannot be split into {settings.accumulation} micro-batches for each of "
            f"{processes.size} processes: raise optimization.batch_size or lower optimization.accumulation"
        )
    expert = trajectories_of(examples, policy)
    if not expert:
        raise TrainerError("there are no training examples")
    prepare, wanted = trainer.prepare(expert, policy, context), trainer.rollouts(settings, budget.steps)
    prompts = [trajectory.prompt for trajectory in expert]
    buffer = ReplayBuffer(prompts, context, wanted, trainer.rollout_noise(expert, policy, context)) if wanted else None
    optimization = Optimizing.of(policy, settings, budget.steps)
    policy.model.train()
    meter.parameters = policy.parameters
    state = optimization.state(policy, meter, buffer)
    order = enumerate(index_batches(len(expert), settings.batch_size, context.seeds["order"]))
    with torch.random.fork_rng():
        torch.manual_seed(context.seeds["dropout"])
        first = _resumed(state, context.checkpoints)
        if len(set(processes.gathered(first))) > 1 or processes.differ(optimization.trainable):
            raise TrainerError(
                "the processes do not start from the same state: put models and results where all of them see them"
            )
        for step, indices in islice(order, first, None):
            if processes.agreed(meter.exhausted(budget)):
                break
            processes.reseed(context.seeds["dropout"], step)
            data = prepare([expert[index] for index in indices], step)
            own = buffer.draw(policy, step) if buffer else []
            row = optimization.step(trainer, policy, Drawn(data, own, step, budget.steps))
            meter.train(sum(map(len, data)) + sum(map(len, own)))
            if step % settings.log_every == 0 or meter.exhausted(budget):
                context.report({"step": meter.steps, **row, **meter.reading()})
            context.evaluate(policy)
            if context.checkpoints.due(meter.steps):
                with meter.paused():
                    context.checkpoints.save(state.snapshot(step + 1))
    optimization.release(policy)
    policy.model.eval()
    return policy


def _resumed(state: TrainingState, checkpoints: Checkpoints) -> int:
    """Restore the last checkpoint, if there is one; the optimiser step to go on with."""
    snapshot = checkpoints.load()
    return 0 if snapshot is None else state.restore(snapshot)
