"""The training loop that all trainers share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import torch

from trainers.base import Budget, Context, Trainer, TrainerError
from trainers.batches import Batch, Trajectory, collate, trajectories_of
from trainers.checkpoints import Checkpoints
from trainers.order import index_batches
from trainers.processes import Processes, add
from trainers.replay import ReplayBuffer
from trainers.training_state import TrainingState

if TYPE_CHECKING:
    from datasets import Dataset

    from trainers.policy import Policy


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
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import DataLoaderConfiguration
    from transformers import get_cosine_schedule_with_warmup

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
    # The precision is global to the process in accelerate, and would stick from the first training on.
    AcceleratorState._reset_state()
    # A batch is split over the processes, so that one optimiser step is one step of the schedule.
    accelerator = Accelerator(
        mixed_precision=settings.precision, dataloader_config=DataLoaderConfiguration(split_batches=True)
    )
    trainable = [parameter for parameter in policy.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    schedule = get_cosine_schedule_with_warmup(optimizer, round(settings.warmup * budget.steps), budget.steps)
    policy.model = accelerator.prepare_model(policy.model, evaluation_mode=True)  # without DistributedDataParallel
    optimizer, schedule = accelerator.prepare(optimizer, schedule)
    policy.model.train()
    meter.parameters = policy.parameters
    unwrapped = accelerator.unwrap_model(policy.model)
    state = TrainingState(unwrapped, optimizer, schedule, accelerator.scaler, meter, buffer)
    order = enumerate(index_batches(len(expert), settings.batch_size, context.seeds["order"]))
    with torch.random.fork_rng():
        torch.manual_seed(context.seeds["dropout"])
        first = _resumed(state, context.checkpoints)
        if len(set(processes.gathered(first))) > 1 or processes.differ(trainable):
            raise TrainerError(
                "the processes do not start from the same state: put models and results where all of them see them"
            )
        for step, indices in islice(order, first, None):
            if processes.agreed(meter.exhausted(budget)):
                break
            processes.reseed(context.seeds["dropout"], step)
            data = prepare([expert[index] for index in indices], step)
            if len(data) < processes.size:
                raise TrainerError(
                    f"at step {step} prepare() leaves {len(data)} trajectories for {processes.size} processes"
                )
            parts = min(settings.accumulation, len(data) // processes.size) * processes.size
            own = buffer.draw(policy, step) if buffer else []
            steps, sums = 0, dict[str, float]()
            for batch in _micro_batches(policy, data, own, parts, step, budget.steps, processes):
                loss = trainer.loss(policy, batch)
                accelerator.backward(loss.total)
                steps += loss.steps
                add(sums, {"loss": float(loss.total.detach()), **loss.log})
            steps, sums = processes.total(steps, sums)
            processes.add_gradients(trainable)
            if not steps:
                raise TrainerError(f"nothing to learn from at step {step}: every completion of its batch is empty")
            if not math.isfinite(sums["loss"]):
                raise TrainerError(f"the loss is {sums['loss']} at step {step}: lower the learning rate")
            torch._foreach_div_([parameter.grad for parameter in trainable if parameter.grad is not None], steps)
            norm = accelerator.clip_grad_norm_(trainable, settings.max_grad_norm)
            rate = schedule.get_last_lr()[0]
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            meter.train(sum(map(len, data)) + sum(map(len, own)))
            if step % settings.log_every == 0 or meter.exhausted(budget):
                means = {name: value / steps for name, value in sums.items()}
                context.report(
                    {"step": meter.steps, **means, "learning_rate": rate, "grad_norm": float(norm), **meter.reading()}
                )
            context.evaluate(policy)
            if context.checkpoints.due(meter.steps):
                with meter.paused():
                    context.checkpoints.save(state.snapshot(step + 1))
    policy.model = accelerator.unwrap_model(policy.model, keep_fp32_wrapper=False)
    policy.model.eval()
    return policy


def _resumed(state: TrainingState, checkpoints: Checkpoints) -> int:
    """Restore the last checkpoint, if there is one; the optimiser step to go on with."""
    snapshot = checkpoints.load()
    return 0 if snapshot is None else state.restore(snapshot)


def _micro_batches(
    policy: Policy,
    data: list[Trajectory],
    own: list[Trajectory],
    parts: int,
    step: int,
    steps: int,
    processes: Processes,
) -> Iterator[Batch]:
    """Those of this process, of ``parts`` over all of them."""
    bksp, device = policy.actions.bksp, policy.device
    # The longest examples go with the shortest roll-outs, so that memory peaks less.
    pairs = list(zip(_by_length(data, parts), _by_length(own, parts)[::-1], strict=True))
    for mine, theirs in processes.own(pairs):
        yield Batch(
            data=collate(mine, bksp).to(device),
            rollouts=collate(theirs, bksp).to(device) if theirs else None,
            rollout_weight=len(data) / max(len(own), 1),
            step=step,
            steps=steps,
        )


def _by_length(trajectories: list[Trajectory], parts: int) -> list[list[Trajectory]]:
    """Split into parts of equal size, each of similar lengths; one part keeps its order."""
    if parts == 1:
        return [trajectories]
    ordered = sorted(trajectories, key=len)
    bounds = [len(ordered) * part // parts for part in range(parts + 1)]
    return [ordered[low:high] for low, high in pairwise(bounds)]
