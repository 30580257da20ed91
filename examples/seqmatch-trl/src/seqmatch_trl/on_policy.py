"""trl's ``GKDTrainer`` on prompts and completions, with what it samples and what the teacher reads counted."""

from typing import Any

import torch
from trl.experimental.gkd import GKDTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling
from trl.trainer.utils import pad

from seqmatch_trl.clocked import Clocked
from trainers.backspace import IGNORE


class OnPolicy(Clocked, GKDTrainer):
    """Batches are those of fine-tuning; the prompts in them are found where nothing is to be learnt."""

    def __init__(self, **parts: Any) -> None:
        tokenizer = parts["processing_class"]
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        super().__init__(**parts, data_collator=DataCollatorForLanguageModeling(tokenizer.pad_token_id))
        self.generation_config.eos_token_id = tokenizer.eos_token_id

    def generate_on_policy_outputs(self, model: Any, inputs: Any, config: Any) -> tuple[torch.Tensor, ...]:
        is_prompt = (inputs["labels"] == IGNORE) & (inputs["attention_mask"] == 1)
        prompts = [ids[where] for ids, where in zip(inputs["input_ids"], is_prompt, strict=True)]
        masks = [torch.ones_like(prompt) for prompt in prompts]
        left = {"prompts": pad(prompts, padding_side="left"), "prompt_attention_mask": pad(masks, padding_side="left")}
        found = GKDTrainer.generate_on_policy_outputs(model, left, config)
        self.context.meter.sample(int((found[2] != IGNORE).sum()))
        return found

    def compute_loss(self, model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
        self.context.meter.read(int(inputs["attention_mask"].sum()))
        return super().compute_loss(model, inputs, *rest, **named)
