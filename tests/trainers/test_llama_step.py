"""That ``LlamaStep`` computes what the model does is tested in ``test_slots``; here, whom it is used for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from trainers import slots
from trainers.decoding import Decoder
from trainers.generation import sample
from trainers.llama_step import writes_out
from trainers.policy import Policy

WIDTHS = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def llama(**settings: object) -> LlamaForCausalLM:
    return LlamaForCausalLM(LlamaConfig(vocab_size=11, **WIDTHS, **settings))


def hooked(part: Callable[[LlamaForCausalLM], nn.Module]) -> LlamaForCausalLM:
    model = llama()
    part(model).register_forward_hook(lambda *_: None)
    return model


def adapted() -> LlamaForCausalLM:
    adapters = get_peft_model(llama(), LoraConfig(target_modules=["q_proj"], r=2))
    inner: LlamaForCausalLM = adapters.base_model.model
    return inner


def patched() -> LlamaForCausalLM:
    model = llama()
    model.forward = model.forward
    return model


class OwnLlama(LlamaForCausalLM):
    pass


def test_a_plain_llama_is_written_out() -> None:
    assert writes_out(llama())


@pytest.mark.parametrize(
    "make",
    [
        lambda: GPT2LMHeadModel(GPT2Config(vocab_size=11, n_embd=16, n_layer=1, n_head=2)),
        lambda: OwnLlama(LlamaConfig(vocab_size=11, **WIDTHS)),
        lambda: llama().to(torch.bfloat16),
        lambda: llama(hidden_act="gelu"),
        lambda: llama(rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 100.0}),
        lambda: hooked(lambda model: model),
        lambda: hooked(lambda model: model.lm_head),
        lambda: hooked(lambda model: model.model.layers[0].mlp),
        adapted,
        patched,
    ],
    ids=["gpt2", "subclass", "bf16", "gelu", "dynamic", "hook", "head hook", "inner hook", "adapters", "patched"],
)
def test_other_models_go_through_their_own_forward(make: Callable[[], nn.Module]) -> None:
    assert not writes_out(make())


@pytest.mark.parametrize("backspace", [False, True])
def test_samples_are_those_of_the_model_s_own_forward(
    make_policy: Callable[..., Policy], backspace: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = make_policy(backspace=backspace)
    start = policy.actions.start
    prompts = [[start, *[start + 1] * (index % 3)] for index in range(40)]

    def samples() -> list[list[int]]:
        found = sample(policy, prompts, Decoder(), 0, max_new_tokens=8, max_actions=30, batch_size=7)
        return [one.actions for one in found]

    short = samples()
    taken = []
    monkeypatch.setattr(slots, "writes_out", lambda model: taken.append(model))
    assert samples() == short
    assert taken
