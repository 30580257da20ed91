"""A trainer of trl that reads the data in seqmatch's order and lives by seqmatch's clocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

from torch.utils.data import DataLoader
from trl import SFTTrainer

from trainers.base import Budget, Context, TrainerError
from trainers.order import index_batches
from trainers.policy import Policy


@dataclass(frozen=True)
class MicroBatches:
    """Indices of the micro-batches of ``steps`` optimiser steps, in the order of seqmatch's own loop."""

    count: int
    steps: int
    context: Context

    def __len__(self) -> int:
        return self.steps * self.context.optimization.accumulation

    def __iter__(self) -> Iterator[list[int]]:
        size, parts = self.context.optimization.batch_size, self.context.optimization.accumulation
        bounds = [size * part // parts for part in range(parts + 1)]
        for batch in islice(index_batches(self.count, size, self.context.seeds["order"]), self.steps):
            yield from (batch[low:high] for low, high in pairwise(bounds))


class Clocked(SFTTrainer):
    """Mixin for SFTTrainer and what derives from it; set the attributes before ``train``."""

    policy: Policy
    budget: Budget
    context: Context
    batches: MicroBatches
    tokens = 0

    def get_train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.train_dataset, batch_sampler=self.batches, collate_fn=self.data_collator)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        loss = super().training_step(model, inputs, num_items_in_batch)
        self.tokens += int(inputs["attention_mask"].sum())
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Called after every optimiser step, and once more at the end without a loss."""
        super().log(logs, start_time)
        if "loss" not in logs:
            return
        step, meter = self.context.meter.steps, self.context.meter
        if not math.isfinite(logs["loss"]):
            raise TrainerError(f"the loss is {logs['loss']} at step {step}: lower the learning rate")
        meter.train(self.tokens)
        self.tokens = 0
        ends = meter.exhausted(self.budget)
        if step % self.context.optimization.log_every == 0 or ends:
            row = {name: logs[name] for name in ("loss", "learning_rate", "grad_norm")}
            self.context.report({"step": meter.steps, **row, **meter.reading()})
        self.context.evaluate(self.policy)
        self.control.should_training_stop |= ends
