from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from transformers import GPT2Config, GPT2LMHeadModel

from trainers.backspace import visible
from trainers.decoding import Decoder
from trainers.generation import Sample, draw, sample
from trainers.policy import Policy

MakePolicy = Callable[..., Policy]
PROMPTS = ["", "a", "bcd", "ee", "abcde"] * 30


def run(
    policy: Policy, prompts: list[str] = PROMPTS, seed: int = 7, batch_size: int = 64, **bounds: int
) -> list[Sample]:
    bounds = {"max_new_tokens": 6, "max_actions": 24} | bounds
    ids = [policy.prompt_ids(prompt) for prompt in prompts]
    return sample(policy, ids, Decoder(), seed, batch_size=batch_size, **bounds)


@torch.no_grad()
def reference(
    policy: Policy, prompt: list[int], seed: int, index: int, max_new_tokens: int, max_actions: int
) -> Sample:
    """The same walk with no cache at all: a plain forward pass over the visible text before every action."""
    uniforms = np.random.Generator(np.random.Philox(key=[seed, index])).random(max_actions)
    actions: list[int] = []
    text: list[int] = []
    while True:
        logits = policy.model(torch.tensor([prompt + text])).logits[0, -1].double().numpy()
        logits[list(policy.actions.forbidden)] = -np.inf
        if not text and policy.actions.bksp is not None:
            logits[policy.actions.bksp] = -np.inf
        weights = np.exp(logits - logits.max())
        cumulative = np.cumsum(weights / weights.sum())
        action = int(np.searchsorted(cumulative, uniforms[len(actions)] * cumulative[-1], side="right"))
        actions.append(action)
        if action == policy.actions.eos:
            return Sample(actions, text, "eos")
        text = visible(actions, policy.actions.bksp)
        if len(text) == max_new_tokens:
            return Sample(actions, text, "length")
        if len(actions) == max_actions:
            return Sample(actions, text, "actions")


@pytest.mark.parametrize("backspace", [False, True])
def test_walks_equal_a_reference_without_a_cache(make_policy: MakePolicy, backspace: bool) -> None:
    policy = make_policy(backspace=backspace)
    walks = run(policy)
    for index, (prompt, walk) in enumerate(zip(PROMPTS, walks, strict=True)):
        assert walk == reference(policy, policy.prompt_ids(prompt), 7, index, 6, 24)
    if backspace:
        erased = sum(action == policy.actions.bksp for walk in walks for action in walk.actions)
        assert erased > 20, "the case is empty unless something was erased"


def test_walks_of_gpt2_equal_the_reference(make_policy: MakePolicy) -> None:
    actions = make_policy().actions
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=actions.size, n_embd=16, n_layer=2, n_head=2, n_positions=32, initializer_range=0.4)
    policy = Policy(GPT2LMHeadModel(config).eval(), make_policy().tokenizer, actions)
    walks = run(policy, PROMPTS[:50], batch_size=8)
    for index, (prompt, walk) in enumerate(zip(PROMPTS, walks, strict=False)):
        assert walk == reference(policy, policy.prompt_ids(prompt), 7, index, 6, 24)
    assert sum(actions.bksp in walk.actions for walk in walks) > 5


@pytest.mark.parametrize("backspace", [False, True])
@pytest.mark.parametrize("batch_size", [7, 200])
def test_a_pass_feeds_one_row_per_appended_token_and_none_per_backspace(
    make_policy: MakePolicy, backspace: bool, batch_size: int
) -> None:
    """Beside the start tokens; the last token of a text that is cut is never fed."""
    policy = make_policy(backspace=backspace)
    rows = 0

    def count(module: torch.nn.Module, args: object, kwargs: dict[str, torch.Tensor]) -> None:
        nonlocal rows
        rows += kwargs["input_ids"].numel()

    policy.model.register_forward_pre_hook(count, with_kwargs=True)
    walks = run(policy, prompts=[""] * 150, batch_size=batch_size)
    appended = sum(action not in (policy.actions.eos, policy.actions.bksp) for walk in walks for action in walk.actions)
    last = sum(walk.finish != "eos" and walk.actions[-1] != policy.actions.bksp for walk in walks)
    assert rows == len(walks) + appended - last


def test_few_bytes_for_the_stack_change_no_sample(make_policy: MakePolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = make_policy()
    expected = run(policy)
    monkeypatch.setattr("trainers.generation.STACK_BYTES", 3 * 4 * 6 * policy.actions.size)
    widest = 0

    def see(module: torch.nn.Module, args: object, kwargs: dict[str, torch.Tensor]) -> None:
        nonlocal widest
        widest = max(widest, len(kwargs["input_ids"]))

    policy.model.register_forward_pre_hook(see, with_kwargs=True)
    assert run(policy) == expected
    assert widest == 3


def test_progress_adds_up(make_policy: MakePolicy) -> None:
    policy, done = make_policy(), []
    ids = [policy.prompt_ids(prompt) for prompt in PROMPTS]
    sample(policy, ids, Decoder(), 0, max_new_tokens=6, max_actions=24, batch_size=8, progress=done.append)
    assert sum(done) == len(PROMPTS)
    assert min(done) > 0


@pytest.mark.parametrize("batch_size", [1, 8])
def test_samples_do_not_depend_on_the_batch_size(make_policy: MakePolicy, batch_size: int) -> None:
    policy = make_policy()
    assert run(policy, batch_size=batch_size) == run(policy, batch_size=64)


def test_a_sample_does_not_depend_on_other_prompts(make_policy: MakePolicy) -> None:
    policy = make_policy()
    assert run(policy)[:3] == run(policy, prompts=PROMPTS[:3])


def test_seeds_differ_and_repeat(make_policy: MakePolicy) -> None:
    policy = make_policy()
    assert run(policy, seed=1) == run(policy, seed=1)
    assert run(policy, seed=1) != run(policy, seed=2)


@pytest.mark.parametrize(("bound", "finish"), [({"max_new_tokens": 2}, "length"), ({"max_actions": 2}, "actions")])
def test_a_row_says_which_bound_was_hit(make_policy: MakePolicy, bound: dict[str, int], finish: str) -> None:
    walks = run(make_policy(), **bound)
    assert finish in {walk.finish for walk in walks}
    for walk in walks:
        assert len(walk.visible) <= bound.get("max_new_tokens", 6)
        assert len(walk.actions) <= bound.get("max_actions", 24)
        if walk.finish == "length":
            assert len(walk.visible) == bound.get("max_new_tokens", 6)


def test_greedy_erasing_for_ever_is_ended_by_the_bound_on_actions(make_policy: MakePolicy) -> None:
    policy = make_policy(seed=7)
    walks = sample(
        policy, [policy.prompt_ids(p) for p in PROMPTS], Decoder(temperature=0), 0, max_new_tokens=6, max_actions=24
    )
    assert "actions" in {walk.finish for walk in walks}
    for walk in walks:
        assert walk.finish != "actions" or len(walk.actions) == 24
        assert (walk.finish == "eos") == (walk.actions[-1] == policy.actions.eos)


def test_first_actions_follow_the_policy(make_policy: MakePolicy) -> None:
    policy = make_policy(sharpness=4.0)
    count = 4000
    walks = run(policy, prompts=["a"] * count, batch_size=1000, max_actions=1)
    observed = np.bincount([walk.actions[0] for walk in walks], minlength=policy.actions.size)
    expected = policy.path_probabilities("a", np.zeros((1, 0), np.int64))[0, 0]
    assert observed[expected == 0].sum() == 0
    possible = expected > 0
    assert chisquare(observed[possible], count * expected[possible]).pvalue > 1e-3


def test_the_mode_of_the_model_is_left_alone(make_policy: MakePolicy) -> None:
    policy = make_policy()
    policy.model.train()
    run(policy, prompts=["a"])
    assert policy.model.training


def test_bad_bounds_are_refused(make_policy: MakePolicy) -> None:
    policy = make_policy()
    with pytest.raises(ValueError, match="do not fit into the model's context of 256"):
        run(policy, max_new_tokens=300)
    with pytest.raises(ValueError, match="at least 1"):
        run(policy, max_actions=0)
    assert run(policy, prompts=[]) == []


def test_draws_invert_the_cumulative_distribution() -> None:
    logits = torch.tensor([0.0, 0.2, 0.5, 0.0, 0.3, 0.0]).log().expand(7, -1)
    uniforms = torch.tensor([0.0, 0.1, 0.21, 0.69, 0.71, 0.99, 1 - 2**-53], dtype=torch.float64)
    assert draw(logits, uniforms).tolist() == [1, 1, 2, 2, 4, 4, 4]
    certain = torch.full((1, 3), -torch.inf)
    certain[0, 1] = 0
    assert draw(certain, uniforms[-1:]).tolist() == [1]
