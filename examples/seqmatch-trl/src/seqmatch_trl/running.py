"""One training with a trainer of trl, which leaves nothing behind but trained weights."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback, get_cosine_schedule_with_warmup
from trl import SFTConfig

from seqmatch_trl.clocked import Clocked, MicroBatches
from seqmatch_trl.isolation import only_weights_change
from trainers.backspace import IGNORE
from trainers.base import Budget, Context, TrainerError
from trainers.batches import Trajectory, trajectories_of
from trainers.policy import Policy


def run(
    kind: type[Clocked],
    policy: Policy,
    examples: Dataset,
    budget: Budget,
    context: Context,
    axis: str,
    config: Callable[..., SFTConfig],
    **parts: Any,
) -> Policy:
    """Train ``policy`` in place with a trainer of class ``kind``, whose draws come from the seed of one axis."""
    expert, settings = trajectories_of(examples, policy), context.optimization
    if not expert:
        raise TrainerError("there are no training examples")
    if context.meter.exhausted(budget):
        return policy
    context.meter.parameters, steps = policy.parameters, budget.steps - context.meter.steps
    weights = [each for each in policy.model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    schedule = get_cosine_schedule_with_warmup(optimizer, round(settings.warmup * steps), steps)
    with tempfile.TemporaryDirectory() as folder, only_weights_change(policy):
        arguments = config(
            output_dir=folder,
            max_steps=steps,
            seed=context.seeds[axis],
            gradient_accumulation_steps=settings.accumulation,
            max_grad_norm=settings.max_grad_norm,
            bf16=settings.precision == "bf16",
            fp16=settings.precision == "fp16",
            use_cpu=not torch.accelerator.is_available(),
            gradient_checkpointing=None,
            logging_steps=1,
            logging_nan_inf_filter=False,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
        )
        trainer = kind(
            model=policy.model,
            args=arguments,
            train_dataset=Dataset.from_list([tokens(each) for each in expert]),
            processing_class=copy.deepcopy(policy.tokenizer),
            optimizers=(optimizer, schedule),
            **parts,
        )
        trainer.policy, trainer.budget, trainer.context = policy, budget, context
        trainer.batches = MicroBatches(len(expert), steps, context)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return policy


def tokens(trajectory: Trajectory) -> dict[str, list[int]]:
    """The tokens of an example, and those to be learnt: the end of the text only where it is one."""
    ignored = [IGNORE] * len(trajectory.prompt)
    return {"input_ids": [*trajectory.prompt, *trajectory.actions], "labels": [*ignored, *trajectory.actions]}
