"""A trainer takes any policy: with adapters, in half precision, of another architecture, with dropout."""

from __future__ import annotations

import math
import random

import torch

from harness.seeding import TRAINING_AXES, axis_seeds
from harness.testing.battery import Tier, require, skip
from harness.testing.trainer.battery import TRAINER
from harness.testing.trainer.comparing import changed, difference, weights
from harness.testing.trainer.learning import RATE, nats
from harness.testing.trainer.subject import MODEL, TrainerSubject
from trainers.base import Budget
from trainers.model_spec import LoraSpec, ModelSpec
from trainers.policy import Policy


def gpt2(subject: TrainerSubject, dropout: float) -> Policy:
    """A fresh GPT-2 over the vocabulary of the subject: input and output embeddings are one table."""
    from transformers import GPT2Config, GPT2LMHeadModel

    like = subject.policy()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=like.actions.size,
                n_embd=32,
                n_layer=2,
                n_head=2,
                n_positions=48,
                resid_pdrop=dropout,
                embd_pdrop=dropout,
                attn_pdrop=dropout,
                bos_token_id=like.tokenizer.bos_token_id,
                eos_token_id=like.actions.eos,
            )
        )
    return Policy(model, like.tokenizer, like.actions)


@TRAINER.check(Tier.FULL)
def adapters_alone_are_trained(subject: TrainerSubject) -> None:
    """Of a policy with LoRA adapters, what is frozen stays as it was, and the adapters learn."""
    subject.skip_unless_it_learns()
    adapted = TrainerSubject(subject.plugin, ModelSpec(fresh=MODEL, lora=LoraSpec(rank=4)))
    policy = adapted.policy()
    trainable = {name for name, each in policy.model.named_parameters() if each.requires_grad}
    before = weights(policy)
    moved = set(changed(before, weights(adapted.fit(policy=policy, learning_rate=RATE).policy)))
    frozen = sorted(moved - trainable)
    require(
        not frozen,
        f"{len(frozen)} frozen weights changed, {frozen[:1]} among them: give the optimiser only parameters with "
        "requires_grad, and leave the adapters unmerged",
    )
    require(
        moved & trainable, "no adapter changed: take the parameters from policy.model.parameters() when fit is called"
    )


@TRAINER.check(Tier.FULL)
def half_precision_trains(subject: TrainerSubject) -> None:
    """With ``optimization.precision = "bf16"`` losses and weights are finite, and the weights stay float32."""
    fitted = subject.fit(precision="bf16")
    require(all(map(math.isfinite, fitted.losses)), "the loss is not finite in bf16: compute log-sum-exps in float32")
    for name, each in fitted.policy.model.named_parameters():
        require(each.dtype == torch.float32, f"{name} is {each.dtype} after training in bf16: keep float32 weights")
        require(bool(each.isfinite().all()), f"{name} is not finite after training in bf16")


@TRAINER.check(Tier.FULL)
def another_architecture_trains(subject: TrainerSubject) -> None:
    """A GPT-2, whose input and output embeddings are one table, learns the data too."""
    subject.skip_unless_it_learns()
    examples, policy = subject.examples(), gpt2(subject, dropout=0.0)
    before = nats(policy, examples)
    after = nats(subject.fit(policy=policy, budget=Budget(steps=20), learning_rate=RATE).policy, examples)
    require(
        after < before,
        f"the data cost {before:.3f} nats per action before and {after:.3f} after 20 steps: use the methods that all "
        "Hugging Face causal models have (get_output_embeddings, forward), and not those of one class",
    )


@TRAINER.check(Tier.FULL)
def dropout_follows_its_seed(subject: TrainerSubject) -> None:
    """Dropout is drawn from the seed axis ``dropout``, and not from the global generator."""
    subject.skip_unless_it_learns()
    seeds = axis_seeds(0, TRAINING_AXES)
    runs = []
    for seed, dropout in ((1, 0), (2, 0), (2, 1)):
        policy = gpt2(subject, dropout=0.2)
        random.seed(seed)
        torch.manual_seed(seed)
        runs.append(subject.fit(policy=policy, seeds={**seeds, "dropout": seeds["dropout"] + dropout}))
    found = difference(runs[0], runs[1])
    advice = 'call torch.manual_seed(context.seeds["dropout"]) in torch.random.fork_rng()'
    require(not found, f"with dropout and another global seed: {found}; {advice}")
    if not difference(subject.fit(policy=gpt2(subject, 0.0)), runs[0]):
        skip("the trainer trains without dropout")
    require(difference(runs[1], runs[2]), f"another seed of the axis dropout changes nothing: {advice}")
