"""What a saved policy says of itself to others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import processors
from transformers import AutoTokenizer, GenerationConfig

from trainers.outside import generation_config, starting_tokenizer
from trainers.policy import Policy

MakePolicy = Callable[..., Policy]


@pytest.mark.parametrize("backspace", [False, True])
def test_the_saved_tokenizer_starts_texts_as_prompts_start(
    make_policy: MakePolicy, tmp_path: Path, backspace: bool
) -> None:
    policy = make_policy(backspace=backspace)
    for folder in (tmp_path / "saved", tmp_path / "saved again"):
        policy.save(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        for prompt in ("", "abc"):
            assert tokenizer(prompt)["input_ids"] == policy.prompt_ids(prompt)
        assert tokenizer("a", "b")["input_ids"] == [policy.actions.start, *policy.encode("ab")]
        assert tokenizer.decode(tokenizer("abc")["input_ids"], skip_special_tokens=True) == "abc"
        policy = Policy.load(folder)


def test_the_tokenizer_of_the_policy_stays_as_it_was(make_policy: MakePolicy, tmp_path: Path) -> None:
    policy = make_policy()
    policy.save(tmp_path)
    assert policy.tokenizer("abc")["input_ids"] == policy.encode("abc")
    assert policy.model.generation_config.suppress_tokens is None


def test_a_tokenizer_that_starts_texts_by_itself_is_left_alone(make_policy: MakePolicy) -> None:
    policy = make_policy()
    own = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", policy.actions.start)])
    policy.tokenizer.backend_tokenizer.post_processor = own
    assert starting_tokenizer(policy.tokenizer, policy.actions)("a")["input_ids"] == policy.prompt_ids("a")


@pytest.mark.parametrize("backspace", [False, True])
def test_what_is_no_action_or_cannot_be_carried_out_is_suppressed(make_policy: MakePolicy, backspace: bool) -> None:
    actions = make_policy(backspace=backspace).actions
    erase = [actions.bksp] if backspace else []
    assert generation_config(GenerationConfig(), actions).suppress_tokens == [*actions.forbidden, *erase]
    before = GenerationConfig(suppress_tokens=[4])
    assert generation_config(before, actions).suppress_tokens == sorted([4, *actions.forbidden, *erase])
    assert before.suppress_tokens == [4]
