"""What every trainer owes to seqmatch."""

from __future__ import annotations

import os
import pickle
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from seqmatch_trl.gkd import GKD
from seqmatch_trl.sft import SFT
from transformers import GPT2Config, GPT2LMHeadModel

from trainers.base import Budget, Meter, TrainerError
from trainers.decoding import Decoder
from trainers.model_spec import LoraSpec
from trainers.policy import Policy

TRAINERS = [SFT(), SFT(loss_type="dft"), GKD()]
each_trainer = pytest.mark.parametrize("trainer", TRAINERS, ids=["sft", "dft", "gkd"])


def weights(policy):
    return torch.cat([parameter.detach().flatten() for parameter in policy.model.parameters()])


def global_states():
    return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()


@each_trainer
def test_equal_seeds_give_equal_bits_and_leave_everything_else_alone(
    trainer, fit, make_policy, examples, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    before, rows, environment = global_states(), examples.to_list(), dict(os.environ)
    policies = [make_policy(), make_policy()]
    config, generation = policies[0].model.config.to_dict(), policies[0].model.generation_config.to_dict()
    attributes, vocabulary = set(vars(policies[0].model)), policies[0].tokenizer.get_vocab()
    trained = []
    for policy in policies:
        torch.rand(1)
        now = global_states()
        trained.append(fit(trainer, policy)[0])
        assert global_states() == now
    assert global_states() != before
    assert torch.equal(*map(weights, trained))
    assert not torch.equal(weights(trained[0]), weights(make_policy()))
    model = trained[0].model
    assert not model.training
    assert (model.config.to_dict(), model.generation_config.to_dict()) == (config, generation)
    assert set(vars(model)) - attributes <= {"_is_accelerate_prepared"}, "the shared loop leaves that too"
    assert model.lm_head.bias is None
    assert trained[0].tokenizer.get_vocab() == vocabulary
    assert examples.to_list() == rows
    assert list(tmp_path.iterdir()) == []
    assert dict(os.environ) == environment


@pytest.mark.parametrize(("trainer", "axis"), [(SFT(), "order"), (GKD(), "order"), (GKD(), "rollout")])
def test_seed_axes_matter(trainer, axis, make_policy, examples, context):
    other = replace(context, seeds={**context.seeds, axis: 99}, meter=Meter())
    first, second = (trainer.fit(make_policy(), examples, Budget(steps=20), each) for each in (context, other))
    assert not torch.equal(weights(first), weights(second))


@each_trainer
def test_steps_and_tokens_end_training_at_the_step_that_reaches_them(trainer, fit):
    _, rows = fit(trainer, budget=Budget(steps=7))
    assert [row["step"] for row in rows] == list(range(1, 8))
    _, rows = fit(trainer, budget=Budget(steps=100_000, tokens=150))
    assert rows[-1]["tokens"] >= 150 > rows[-2]["tokens"]


def test_seconds_and_sampled_tokens_end_training_too(fit):
    _, rows = fit(SFT(), budget=Budget(steps=100_000, seconds=0.5))
    assert [row["seconds"] >= 0.5 for row in rows] == [False] * (len(rows) - 1) + [True]
    _, rows = fit(GKD(lmbda=1.0), budget=Budget(steps=200, generated_tokens=30))
    assert [row["generated_tokens"] >= 30 for row in rows] == [False] * (len(rows) - 1) + [True]


def test_flops_are_those_of_training_sampling_and_the_teacher(fit, make_policy):
    policy, rows = fit(GKD(teacher_share=0.5))
    last, parameters = rows[-1], make_policy().parameters
    read = last["tokens"] - rows[9]["tokens"]
    assert last["generated_tokens"] > rows[9]["generated_tokens"] == 0
    assert last["flops"] == pytest.approx(parameters * (6 * last["tokens"] + 2 * last["generated_tokens"] + 2 * read))
    assert policy.parameters == parameters


@each_trainer
def test_the_policy_is_lent_for_evaluation_after_every_step(trainer, make_policy, examples, context):
    policy, seen = make_policy(), []
    fitted = trainer.fit(policy, examples, Budget(steps=6), replace(context, evaluate=seen.append))
    assert [each is policy for each in seen] == [True] * 6
    assert fitted is policy


@each_trainer
def test_an_interruption_goes_through_and_leaves_a_usable_policy(trainer, make_policy, examples, context):
    def interrupt(policy):
        if context.meter.steps == 15:
            raise KeyboardInterrupt

    policy, before = make_policy(), global_states()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(policy, examples, Budget(steps=20), replace(context, evaluate=interrupt))
    assert global_states() == before
    assert policy.model.lm_head.bias is None
    assert "forward" not in vars(policy.model)


@each_trainer
def test_the_loss_falls_and_one_batch_is_learnt_by_heart(trainer, fit, examples):
    batch = examples.select([0, 2, 5, 7])
    policy, rows = fit(trainer, budget=Budget(steps=240), data=batch)
    losses = [row["loss"] for row in rows]
    assert np.isfinite(losses).all()
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    written = policy.generate(batch["prompt"], Decoder(temperature=0), 0, 6, 20)
    assert written["completion"].tolist() == list(batch["completion"])
    assert set(written["finish"]) == {"eos"}


@each_trainer
def test_adapters_are_trained_alone_and_in_half_precision(trainer, fit, make_policy):
    policy = make_policy(lora=LoraSpec(rank=2))
    before = {name: value.clone() for name, value in policy.model.state_dict().items()}
    _, rows = fit(trainer, policy, precision="bf16")
    assert np.isfinite([row["loss"] for row in rows]).all()
    changed = {name for name, value in policy.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all("lora" in name for name in changed)
    assert {parameter.dtype for parameter in policy.model.parameters()} == {torch.float32}
    assert policy.model(torch.tensor([[1, 3]])).logits.dtype == torch.float32


@each_trainer
def test_dropout_is_on_again_and_a_tokenizer_without_padding_still_has_none(trainer, fit, make_policy):
    like = make_policy()
    like.tokenizer.pad_token = None
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=like.actions.size, n_embd=16, n_layer=1, n_head=2, n_positions=32))
    policy, _ = fit(trainer, Policy(model, like.tokenizer, like.actions))
    assert {module.p for module in policy.model.modules() if isinstance(module, torch.nn.Dropout)} == {0.1}
    assert policy.tokenizer.pad_token is None
    assert policy.model.config.pad_token_id is policy.model.generation_config.pad_token_id is None
    assert policy.model.lm_head.bias is None
    assert policy.model.lm_head.weight is policy.model.transformer.wte.weight


@each_trainer
def test_pickled_settings_are_the_same_trainer(trainer):
    assert pickle.loads(pickle.dumps(trainer)) == trainer


def test_misuse_is_refused(fit, examples):
    with pytest.raises(TrainerError, match="no training examples"):
        fit(SFT(), data=examples.select([]))
    with pytest.raises(TrainerError, match="the loss is nan at step 2: lower"):
        fit(SFT(), learning_rate=1e30, warmup=0.0, budget=Budget(steps=9))
    with pytest.raises(ValueError, match="loss_type must be one of nll, dft"):
        SFT(loss_type="mse")
    with pytest.raises(ValueError, match=r"beta must lie in \[0, 1\], got 2"):
        GKD(beta=2)
    with pytest.raises(ValueError, match=r"teacher_share must lie in \(0, 1\], got 0"):
        GKD(teacher_share=0)
