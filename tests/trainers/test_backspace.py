from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import action_strings
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedModel

from trainers.backspace import BACKSPACE, IGNORE, NEVER, layout, visible

PROMPTS = st.lists(st.integers(0, 4), min_size=1, max_size=3)


def test_the_example_of_the_module() -> None:
    s, a, b, c, d = range(5)
    one = layout([s], [a, b, c, BACKSPACE, d])
    assert one.input_ids.tolist() == [s, a, b, c, b, d]
    assert one.position_ids.tolist() == [0, 1, 2, 3, 2, 3]
    assert one.death.tolist() == [NEVER, NEVER, 4, 4, NEVER, NEVER]
    assert one.labels.tolist() == [a, b, c, BACKSPACE, d, IGNORE]


@given(PROMPTS, action_strings())
def test_every_slot_sees_exactly_the_visible_text_in_order(prompt: list[int], actions: list[int]) -> None:
    one = layout(prompt, actions)
    mask = one.mask()
    for taken in range(len(actions) + 1):
        slot = len(prompt) - 1 + taken
        seen = np.flatnonzero(mask[slot])
        assert one.input_ids[seen].tolist() == prompt + visible(actions[:taken])
        assert one.position_ids[seen].tolist() == list(range(len(seen)))


@given(PROMPTS, action_strings())
def test_labels_are_the_actions_and_the_prompt_has_none(prompt: list[int], actions: list[int]) -> None:
    labels = layout(prompt, actions).labels
    assert labels[len(prompt) - 1 : -1].tolist() == actions
    assert (labels[: len(prompt) - 1] == IGNORE).all()
    assert labels[-1] == IGNORE


def test_the_prompt_cannot_be_erased() -> None:
    with pytest.raises(ValueError, match="action 2 erases, but only the prompt"):
        layout([0, 1], [3, BACKSPACE, BACKSPACE])
    with pytest.raises(ValueError, match="action 0 erases"):
        visible([BACKSPACE])
    with pytest.raises(ValueError, match="prompt is empty"):
        layout([], [1])


def _models() -> list[PreTrainedModel]:
    """Models to which it matters what they see, and where: fresh weights are too small for that."""
    torch.manual_seed(0)
    llama = LlamaConfig(
        vocab_size=6,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        pad_token_id=None,
        initializer_range=0.3,
    )
    gpt2 = GPT2Config(
        vocab_size=6,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=32,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.3,
    )
    return [AutoModelForCausalLM.from_config(config).eval() for config in (llama, gpt2)]


MODELS = _models()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
@settings(max_examples=40, deadline=None)
@given(prompt=PROMPTS, actions=action_strings())
@torch.no_grad()
def test_logits_and_hidden_states_of_every_state_equal_those_of_the_plain_text(
    model: PreTrainedModel, prompt: list[int], actions: list[int]
) -> None:
    one = layout(prompt, actions)
    output = model(
        input_ids=torch.from_numpy(one.input_ids)[None],
        position_ids=torch.from_numpy(one.position_ids)[None],
        attention_mask=torch.from_numpy(one.mask())[None, None],
        use_cache=False,
        output_hidden_states=True,
    )
    for taken in range(len(actions) + 1):
        text = prompt + visible(actions[:taken])
        plain = model(input_ids=torch.tensor([text]), use_cache=False, output_hidden_states=True)
        slot = len(prompt) - 1 + taken
        torch.testing.assert_close(output.logits[0, slot], plain.logits[0, -1], atol=1e-5, rtol=0)
        for mine, theirs in zip(output.hidden_states, plain.hidden_states, strict=True):
            torch.testing.assert_close(mine[0, slot], theirs[0, -1], atol=1e-5, rtol=0)
