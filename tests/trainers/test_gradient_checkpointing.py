"""Gradient checkpointing costs time and saves memory; it changes no bit of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from datasets import Dataset

from trainers.base import Budget, Context, Meter, Trainer
from trainers.batches import Batch, collate, trajectories_of
from trainers.decoding import Decoder
from trainers.mle import MaximumLikelihood
from trainers.model_spec import LoraSpec, ModelSpec
from trainers.models import build_policy, tokenizer_for
from trainers.policy import Policy
from trainers.sequence_match import SequenceMatchBackspace

TEXTS = ["abcde", "ace", "bead", "cab", "deed", "ebb"]
DROPOUT = LoraSpec(rank=2, dropout=0.4)


def policy_of(spec: ModelSpec, checkpointing: bool, lora: LoraSpec | None, backspace: bool) -> Policy:
    wanted = replace(spec, gradient_checkpointing=checkpointing, lora=lora)
    return build_policy(wanted, tokenizer_for(wanted, lambda: iter(TEXTS), None), backspace=backspace, seed=0)


@pytest.mark.parametrize("lora", [None, DROPOUT], ids=["all weights", "adapters with dropout"])
@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize(
    "trainer",
    [MaximumLikelihood(), SequenceMatchBackspace(cloning_share=0.2, refresh_every=2, refresh=4, noise=0.3)],
    ids=["mle", "sequence_match_backspace"],
)
def test_training_and_sampling_keep_their_bits(
    trainer: Trainer, precision: str, lora: LoraSpec | None, spec: ModelSpec, examples: Dataset, context: Context
) -> None:
    def trained(checkpointing: bool) -> tuple[list[float], torch.Tensor, list[list[int]]]:
        rows: list[Mapping[str, float]] = []
        here = replace(
            context,
            report=rows.append,
            meter=Meter(),
            optimization=replace(context.optimization, precision=precision),
        )
        policy = policy_of(spec, checkpointing, lora, trainer.backspace)
        trainer.fit(policy, examples, Budget(steps=10), here)
        weights = torch.cat([each.detach().flatten() for each in policy.model.parameters()])
        walks = policy.generate(["a", "bb", ""], Decoder(), 0, 6, 20)["actions"].tolist()
        return [row["loss"] for row in rows], weights, walks

    plain, checkpointed = trained(False), trained(True)
    assert checkpointed[0] == plain[0]
    assert torch.equal(checkpointed[1], plain[1])
    assert checkpointed[2] == plain[2]


def test_a_forward_pass_keeps_less(spec: ModelSpec, examples: Dataset) -> None:
    def kept(checkpointing: bool) -> int:
        policy = policy_of(spec, checkpointing, None, False)
        policy.model.train()
        batch = Batch(collate(trajectories_of(examples, policy), None), None, 1.0, step=0, steps=1)
        own = {each.untyped_storage().data_ptr() for each in policy.model.parameters()}
        sizes: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            MaximumLikelihood().loss(policy, batch)
        return sum(sizes.values())

    assert kept(True) < 0.5 * kept(False)
