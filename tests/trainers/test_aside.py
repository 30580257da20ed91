"""A policy that is looked at in the middle of its training: training must not notice."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import GPT2Config, GPT2LMHeadModel

from trainers.aside import set_aside
from trainers.base import Budget, Context, Meter, Trainer
from trainers.decoding import Decoder
from trainers.mle import MaximumLikelihood
from trainers.model_spec import FreshModel, LoraSpec, ModelSpec
from trainers.models import build_policy
from trainers.policy import Policy
from trainers.sequence_match import SequenceMatch, SequenceMatchBackspace

MakePolicy = Callable[..., Policy]
MATCHING = {"cloning_share": 0.3, "refresh_every": 3, "refresh": 8}
TRAINERS = {
    "mle": MaximumLikelihood(),
    "sequence_match_backspace": SequenceMatchBackspace(**MATCHING, noise=0.3, noise_kind="policy", noise_rollouts=True),
    "level_head": SequenceMatch(**MATCHING, levels="head", level_warmup_share=0.2),
}


def gpt2(like: Policy) -> Policy:
    """With dropout."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=like.actions.size, n_embd=16, n_layer=2, n_head=2, n_positions=32, bos_token_id=0, eos_token_id=0
    )
    assert config.resid_pdrop > 0
    return Policy(GPT2LMHeadModel(config), like.tokenizer, like.actions)


def lora(like: Policy) -> Policy:
    fresh = FreshModel(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    adapters = LoraSpec(rank=2, dropout=0.3)
    spec = ModelSpec(fresh=fresh, lora=adapters)
    return build_policy(spec, like.tokenizer, backspace=like.actions.bksp is not None, seed=0)


def look(policy: Policy) -> None:
    """All that metrics do, and what they should not."""
    with set_aside(policy) as trained:
        assert not any(module.training for module in trained.model.modules())
        decoders = [Decoder(), Decoder(temperature=0.0)]
        decoders += [] if trained.actions.bksp is not None else [Decoder(penalty_alpha=0.6, top_k=3)]
        for decoder in decoders:
            trained.generate(["a", "bb"], decoder, 0, 6, 20)
        trained.log_likelihood(["a"], ["bcd"], [True])
        trained.path_probabilities("a", np.array([trained.encode("bc")]))
        trained.model.train()
        torch.rand(3), torch.manual_seed(7), random.seed(7), np.random.seed(7)  # noqa: NPY002


def trained(trainer: Trainer, policy: Policy, examples: Dataset, context: Context, **changes: object) -> Policy:
    context = replace(context, meter=Meter(), **changes)
    return trainer.fit(policy, examples, Budget(steps=12), context)


def weights(policy: Policy) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in policy.model.parameters()])


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("model", [gpt2, lora])
@pytest.mark.parametrize("trainer", TRAINERS.values(), ids=TRAINERS)
def test_training_is_the_same_bit_for_bit(
    trainer: Trainer,
    model: Callable[[Policy], Policy],
    precision: str,
    make_policy: MakePolicy,
    examples: Dataset,
    context: Context,
) -> None:
    like = make_policy(backspace=trainer.backspace)
    optimization = replace(context.optimization, precision=precision)
    found = []
    for evaluate in (lambda policy: None, look):
        rows: list[dict[str, float]] = []
        policy = model(like)
        before = weights(policy)
        changes = {"optimization": optimization, "evaluate": evaluate, "report": rows.append}
        after = trained(trainer, policy, examples, context, **changes)
        assert not torch.equal(before, weights(after))
        found.append((weights(after), [{k: v for k, v in row.items() if k != "seconds"} for row in rows]))
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


def test_it_is_called_after_every_optimiser_step(make_policy: MakePolicy, examples: Dataset, context: Context) -> None:
    context, seen = replace(context, meter=Meter()), list[int]()
    context = replace(context, evaluate=lambda policy: seen.append(context.meter.steps))
    MaximumLikelihood().fit(make_policy(backspace=False), examples, Budget(steps=4), context)
    assert seen == [1, 2, 3, 4]


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_the_policy_is_as_if_training_ended_there(
    precision: str, make_policy: MakePolicy, examples: Dataset, context: Context
) -> None:
    optimization = replace(context.optimization, precision=precision)
    trainer, numbers = TRAINERS["sequence_match_backspace"], []

    def measured(policy: Policy) -> np.ndarray:
        return policy.log_likelihood(["a", "bb"], ["bcde", "ead"], [True, True])[0]

    def evaluate(policy: Policy) -> None:
        with set_aside(policy) as at_rest:
            numbers.append((context.meter.tokens, measured(at_rest)))

    context = replace(context, meter=Meter(), evaluate=evaluate, optimization=optimization)
    trainer.fit(make_policy(), examples, Budget(steps=12), context)
    spent, inside = numbers[6]
    shorter = replace(context, meter=Meter(), evaluate=lambda policy: None)
    ended = trainer.fit(make_policy(), examples, Budget(steps=12, tokens=spent), shorter)
    assert shorter.meter.steps == 7
    assert measured(ended).tolist() == inside.tolist()


def test_states_and_modes_return_even_after_an_error(make_policy: MakePolicy) -> None:
    policy = gpt2(make_policy())
    policy.model.train()
    frozen = policy.model.transformer.h[0]
    frozen.eval()
    modes = [module.training for module in policy.model.modules()]
    states = torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002

    def fail(aside: Policy) -> None:
        assert not aside.model.training
        torch.rand(3), random.random(), np.random.rand()  # noqa: NPY002
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"), set_aside(policy) as aside:
        fail(aside)
    assert [module.training for module in policy.model.modules()] == modes
    after = torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert after == states


def test_the_clock_stands_still_in_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("trainers.base.time.monotonic", lambda: now[0])
    meter = Meter(started=100.0)
    now[0] = 103.0
    with meter.paused():
        now[0] = 110.0
        assert meter.seconds == 3
        assert not meter.exhausted(Budget(steps=1, seconds=4))
    now[0] = 112.0
    assert meter.seconds == 5
    assert meter.exhausted(Budget(steps=1, seconds=5))

    def fail() -> None:
        now[0] = 120.0
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"), meter.paused():
        fail()
    assert meter.seconds == 5
