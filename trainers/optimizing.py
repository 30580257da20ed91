"""One optimiser step of the shared loop: micro-batches, gradients summed over processes, one division, one update."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

from trainers.base import TrainerError
from trainers.batches import Batch, Trajectory, collate
from trainers.processes import Processes, add
from trainers.training_state import Stateful, TrainingState

if TYPE_CHECKING:
    from torch.nn import Parameter

    from trainers.base import Meter, Optimization, Trainer
    from trainers.policy import Policy


@dataclass(frozen=True)
class Drawn:
    """What an optimiser step learns from: trajectories of the data, and the policy's own, at a step of so many."""

    data: list[Trajectory]
    own: list[Trajectory]
    step: int
    steps: int


@dataclass(frozen=True)
class Optimizing:
    """What the optimiser steps of a training have in common.

    Attributes:
        settings: of the shared loop.
        accelerator, optimizer, schedule: accelerate's, wrapped around torch's.
        trainable: what the optimiser changes.
        processes: those of the launch.
    """

    settings: Optimization
    accelerator: Any
    optimizer: Any
    schedule: Any
    trainable: list[Parameter]
    processes: Processes

    @classmethod
    def of(cls, policy: Policy, settings: Optimization, steps: int) -> Optimizing:
        """AdamW with warm-up and cosine decay over so many steps; the policy's model is wrapped until ``release``."""
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from accelerate.utils import DataLoaderConfiguration
        from transformers import get_cosine_schedule_with_warmup

        # The precision is global to the process in accelerate, and would stick from the first training on.
        AcceleratorState._reset_state()
        # A batch is split over the processes, so that one optimiser step is one step of the schedule.
        accelerator = Accelerator(
            mixed_precision=settings.precision, dataloader_config=DataLoaderConfiguration(split_batches=True)
        )
        trainable = [parameter for parameter in policy.model.parameters() if parameter.requires_grad]
        rate, decay = settings.learning_rate, settings.weight_decay
        optimizer = torch.optim.AdamW(trainable, lr=rate, weight_decay=decay, fused=True)
        schedule = get_cosine_schedule_with_warmup(optimizer, round(settings.warmup * steps), steps)
        policy.model = accelerator.prepare_model(policy.model, evaluation_mode=True)  # without DistributedDataParallel
        optimizer, schedule = accelerator.prepare(optimizer, schedule)
        return cls(settings, accelerator, optimizer, schedule, trainable, Processes.present())

    def state(self, policy: Policy, meter: Meter, rollouts: Stateful | None) -> TrainingState:
        """All that changes while these steps are taken."""
        model = self.accelerator.unwrap_model(policy.model)
        return TrainingState(model, self.optimizer, self.schedule, self.accelerator.scaler, meter, rollouts)

    def release(self, policy: Policy) -> None:
        """Unwrap the policy's model."""
        policy.model = self.accelerator.unwrap_model(policy.model, keep_fp32_wrapper=False)

    def step(self, trainer: Trainer, policy: Policy, drawn: Drawn) -> dict[str, float]:
        """Take an optimiser step.

        Returns:
            The loss and what the trainer logs, in the mean over action steps; the learning rate, and the norm of the
            gradient before it is clipped.

        Raises:
            TrainerError: if there are fewer examples than processes, there is no action to learn from, or the loss is
                not finite.
        """
        count, processes = len(drawn.data), self.processes
        if count < processes.size:
            raise TrainerError(
                f"at step {drawn.step} prepare() leaves {count} trajectories for {processes.size} processes"
            )
        parts = min(self.settings.accumulation, count // processes.size) * processes.size
        steps, sums = 0, dict[str, float]()
        for batch in _micro_batches(policy, drawn, parts, processes):
            loss = trainer.loss(policy, batch)
            self.accelerator.backward(loss.total)
            steps += loss.steps
            add(sums, {"loss": float(loss.total.detach()), **loss.log})
        steps, sums = processes.total(steps, sums)
        processes.add_gradients(self.trainable)
        if not steps:
            raise TrainerError(f"nothing to learn from at step {drawn.step}: every completion of its batch is empty")
        if not math.isfinite(sums["loss"]):
            raise TrainerError(f"the loss is {sums['loss']} at step {drawn.step}: lower the learning rate")
        torch._foreach_div_([parameter.grad for parameter in self.trainable if parameter.grad is not None], steps)
        norm = self.accelerator.clip_grad_norm_(self.trainable, self.settings.max_grad_norm)
        rate: float = self.schedule.get_last_lr()[0]
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        means = {name: value / steps for name, value in sums.items()}
        return {**means, "learning_rate": rate, "grad_norm": float(norm)}


def _micro_batches(policy: Policy, drawn: Drawn, parts: int, processes: Processes) -> Iterator[Batch]:
    """Those of this process, of ``parts`` over all of them."""
    bksp, device = policy.actions.bksp, policy.device
    # The longest examples go with the shortest roll-outs, so that memory peaks less.
    pairs = list(zip(_by_length(drawn.data, parts), _by_length(drawn.own, parts)[::-1], strict=True))
    for mine, theirs in processes.own(pairs):
        yield Batch(
            data=collate(mine, bksp).to(device),
            rollouts=collate(theirs, bksp).to(device) if theirs else None,
            rollout_weight=len(drawn.data) / max(len(drawn.own), 1),
            step=drawn.step,
            steps=drawn.steps,
        )


def _by_length(trajectories: list[Trajectory], parts: int) -> list[list[Trajectory]]:
    """Split into parts of equal size, each of similar lengths; one part keeps its order."""
    if parts == 1:
        return [trajectories]
    ordered = sorted(trajectories, key=len)
    bounds = [len(ordered) * part // parts for part in range(parts + 1)]
    return [ordered[low:high] for low, high in pairwise(bounds)]
