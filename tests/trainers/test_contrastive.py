from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from trainers.decoding import Decoder
from trainers.generation import Sample, sample
from trainers.policy import Policy

MakePolicy = Callable[..., Policy]
PROMPTS = ["", "a", "bcd", "ee", "abcde", "cab"]


@torch.no_grad()
def reference(policy: Policy, prompt: list[int], alpha: float, k: int, max_new_tokens: int, max_actions: int) -> Sample:
    """Every candidate of every step by a plain forward pass over the whole text, one at a time."""

    def states(ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        output = policy.model(torch.tensor([ids]), output_hidden_states=True)
        return output.logits[0, -1].double(), output.hidden_states[-1][0].double()

    text: list[int] = []
    while True:
        logits, context = states(prompt + text)
        logits[list(policy.actions.forbidden)] = -torch.inf
        shares = logits.softmax(0)
        scores = {}
        for candidate in shares.argsort(descending=True)[:k].tolist():
            if shares[candidate] == 0:
                continue
            state = states([*prompt, *text, candidate])[1][-1]
            worst = max(float(torch.nn.functional.cosine_similarity(state, other, dim=0)) for other in context)
            scores[candidate] = (1 - alpha) * float(shares[candidate]) - alpha * worst
        action = max(scores, key=lambda candidate: scores[candidate])
        if action == policy.actions.eos:
            return Sample([*text, action], text, "eos")
        text.append(action)
        if len(text) in (max_new_tokens, max_actions):
            return Sample(text, text, "length" if len(text) == max_new_tokens else "actions")


def search(policy: Policy, alpha: float, k: int, batch_size: int = 64, max_actions: int = 24) -> list[Sample]:
    ids = [policy.prompt_ids(prompt) for prompt in PROMPTS]
    decoder = Decoder(penalty_alpha=alpha, top_k=k)
    return sample(policy, ids, decoder, 0, max_new_tokens=7, max_actions=max_actions, batch_size=batch_size)


@pytest.mark.parametrize(("alpha", "k", "seed"), [(0.3, 3, 2), (0.6, 4, 2), (0.9, 2, 2), (1.0, 50, 4)])
def test_texts_equal_a_brute_force_reference(make_policy: MakePolicy, alpha: float, k: int, seed: int) -> None:
    policy = make_policy(backspace=False, seed=seed, sharpness=60.0)
    for prompt, walk in zip(PROMPTS, search(policy, alpha, k), strict=True):
        assert walk == reference(policy, policy.prompt_ids(prompt), alpha, k, 7, 24)


def test_the_cases_contain_ends_and_cuts_and_differ_from_greedy_search(make_policy: MakePolicy) -> None:
    policy = make_policy(backspace=False, seed=2, sharpness=60.0)
    walks = search(policy, 0.3, 3)
    assert {walk.finish for walk in walks} == {"eos", "length"}
    ids = [policy.prompt_ids(prompt) for prompt in PROMPTS]
    assert walks != sample(policy, ids, Decoder(temperature=0), 0, max_new_tokens=7, max_actions=24)
    assert {walk.finish for walk in search(policy, 0.3, 3, max_actions=3)} == {"eos", "actions"}


@pytest.mark.parametrize("batch_size", [1, 8])
def test_texts_do_not_depend_on_the_batch_size(make_policy: MakePolicy, batch_size: int) -> None:
    policy = make_policy(backspace=False, seed=2, sharpness=60.0)
    assert search(policy, 0.6, 4, batch_size) == search(policy, 0.6, 4)


def test_a_policy_that_erases_is_refused(make_policy: MakePolicy) -> None:
    with pytest.raises(ValueError, match="needs a policy without <bksp>"):
        search(make_policy(), 0.6, 4)


def test_it_has_no_density(make_policy: MakePolicy) -> None:
    policy = make_policy(backspace=False)
    with pytest.raises(ValueError, match="no warp of logits"):
        policy.path_probabilities("", np.zeros((1, 0), np.int64), Decoder(penalty_alpha=0.6, top_k=4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "top_k must be at least 2"),
        ({"top_k": 4, "temperature": 0.5}, "temperature has no meaning"),
        ({"top_k": 4, "top_p": 0.5}, "top_p has no meaning"),
        ({"top_k": 4, "min_p": 0.5}, "min_p has no meaning"),
        ({"top_k": 4, "backspace_bias": 2.0}, "backspace_bias has no meaning"),
    ],
)
def test_what_it_excludes(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Decoder(penalty_alpha=0.6, **settings)
