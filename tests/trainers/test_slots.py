from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)
from transformers.cache_utils import Cache

from trainers.slots import SlotModel

WIDTHS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 16}


class OlderLlama(LlamaForCausalLM):
    """Calls its cache as all models did before transformers 5.24, and as code that comes with weights still does."""

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
    ) -> Any:
        name = "cache" if "cache" in signature(LlamaForCausalLM.forward).parameters else "past_key_values"
        rest: dict[str, Any] = {name: past_key_values, "use_cache": use_cache, "logits_to_keep": logits_to_keep}
        return super().forward(input_ids, attention_mask, position_ids, **rest)


def models(attention: str) -> list[PreTrainedModel]:
    torch.manual_seed(0)
    llama = LlamaConfig(vocab_size=11, num_key_value_heads=2, **WIDTHS, attn_implementation=attention)
    odd = LlamaConfig(
        vocab_size=11,
        head_dim=6,
        attention_bias=True,
        mlp_bias=True,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 100.0},
        attn_implementation=attention,
        **WIDTHS,
    )
    gpt2 = GPT2Config(vocab_size=11, n_embd=16, n_layer=2, n_head=2, n_positions=32, attn_implementation=attention)
    plain = [LlamaForCausalLM(llama), biased(LlamaForCausalLM(odd)), GPT2LMHeadModel(gpt2), OlderLlama(llama)]
    return [model.eval() for model in plain]


def biased(model: PreTrainedModel) -> PreTrainedModel:
    """No parameter is 0 or 1, as biases and norms of a fresh model are."""
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


MODELS = [*models("sdpa"), *models("eager")]


@st.composite
def edits(draw: st.DrawFn) -> list[tuple[list[int], list[tuple[int, int]]]]:
    """Rows of a prompt, and steps that erase some tokens and append one."""
    steps = draw(st.integers(1, 6))
    token = st.integers(0, 10)
    row = st.tuples(
        st.lists(token, min_size=1, max_size=5),
        st.lists(st.tuples(st.integers(0, 3), token), min_size=steps, max_size=steps),
    )
    return draw(st.lists(row, min_size=1, max_size=4))


def seen(model: PreTrainedModel, call: Callable[[], Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and the hidden states that they are made of, at the last slot of every row."""
    hidden: list[torch.Tensor] = []
    layer = model.get_output_embeddings()
    handle = layer.register_forward_pre_hook(lambda layer, inputs: hidden.append(inputs[0][:, -1]))
    logits = call().logits[:, -1]
    handle.remove()
    return logits, hidden[-1]


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=25)
@given(rows=edits())
@torch.no_grad()
def test_logits_and_hidden_states_of_every_state_are_those_of_the_plain_text(
    model: PreTrainedModel, rows: list[tuple[list[int], list[tuple[int, int]]]]
) -> None:
    slots = SlotModel(model, len(rows) + 1, 12)
    slots.prefill(np.arange(len(rows)), [prompt[:-1] or prompt for prompt, _ in rows])
    texts = [list(prompt) for prompt, _ in rows]
    for step in range(len(rows[0][1]) + 1):
        if step:
            for text, (prompt, changes) in zip(texts, rows, strict=True):
                erased, token = changes[step - 1]
                del text[max(len(prompt), len(text) - erased) :]
                text.append(token)
        tokens, positions = np.array([(text[-1], len(text) - 1) for text in texts]).T.copy()
        logits, hidden = seen(model, partial(slots.step, tokens, positions))
        for row, (text, fast) in enumerate(zip(texts, slots.logits(tokens, positions), strict=True)):
            plain, state = seen(model, partial(model, torch.tensor([text])))
            for found in (logits[row], fast):
                torch.testing.assert_close(found, plain[0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(hidden[row], state[0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_copied_row_goes_on_like_the_other() -> None:
    model = MODELS[0]
    slots = SlotModel(model, 3, 8)
    slots.prefill(np.arange(3), [[1, 2], [3, 4], [5, 6]])
    slots.copy(torch.tensor([2]), torch.tensor([0]), slice(0, 2))
    logits = slots.step(np.array([7, 7]), np.array([2, 2])).logits[:, -1]
    torch.testing.assert_close(logits[0], model(torch.tensor([[5, 6, 7]])).logits[0, -1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits[1], model(torch.tensor([[3, 4, 7]])).logits[0, -1], atol=1e-5, rtol=1e-5)


def test_only_full_attention_is_served() -> None:
    windowed = MistralForCausalLM(MistralConfig(vocab_size=11, num_key_value_heads=2, sliding_window=8, **WIDTHS))
    SlotModel(windowed, 2, 8)
    with pytest.raises(ValueError, match="the window is 8"):
        SlotModel(windowed, 2, 9)
    windowed.config.layer_types = ["linear_attention", "full_attention"]
    with pytest.raises(ValueError, match="layers of linear_attention"):
        SlotModel(windowed, 2, 8)
