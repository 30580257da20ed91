from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from trainers.base import Budget, Context, Meter
from trainers.batches import Batch, collate, trajectories_of
from trainers.mle import MaximumLikelihood
from trainers.policy import Policy
from trainers.unlikelihood import Unlikelihood, log1mexp

MakePolicy = Callable[..., Policy]
EXAMPLES = Dataset.from_dict(
    {
        "prompt": ["ab", "", "cc", "e"],
        "completion": ["abca", "aaaa", "cab", "deeede"],
        "finished": [True, True, False, True],
    }
)


def whole(policy: Policy) -> Batch:
    return Batch(
        data=collate(trajectories_of(EXAMPLES, policy), None), rollouts=None, rollout_weight=1.0, step=0, steps=1
    )


@torch.no_grad()
def reference(policy: Policy, alpha: float) -> tuple[float, int]:
    """Equations 4 and 5, token by token with sets, on plain forward passes in float64."""
    total, steps = 0.0, 0
    for prompt, completion, finished in zip(*(EXAMPLES[name] for name in EXAMPLES.column_names), strict=True):
        context = policy.encode(prompt)
        for token in [*policy.encode(completion), *([policy.actions.eos] if finished else [])]:
            logits = policy.model(torch.tensor([[policy.actions.start, *context]])).logits[0, -1].double()
            logits[list(policy.actions.forbidden)] = -torch.inf
            p = logits.softmax(-1)
            total -= math.log(p[token]) + alpha * sum(math.log(1 - p[other]) for other in set(context) - {token})
            context.append(token)
            steps += 1
    return total, steps


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.5])
def test_the_loss_equals_a_brute_force_reference(make_policy: MakePolicy, alpha: float) -> None:
    policy = make_policy(backspace=False)
    loss = Unlikelihood(alpha=alpha).loss(policy, whole(policy))
    expected, steps = reference(policy, alpha)
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)
    assert loss.steps == steps
    assert loss.log["likelihood"] + alpha * loss.log["unlikelihood"] == pytest.approx(expected, rel=1e-5)


def test_without_the_term_it_is_maximum_likelihood(make_policy: MakePolicy) -> None:
    policy = make_policy(backspace=False)
    losses = [trainer.loss(policy, whole(policy)).total for trainer in (Unlikelihood(alpha=0.0), MaximumLikelihood())]
    torch.testing.assert_close(*losses)


@given(st.floats(1e-4, 80))
def test_log_of_one_minus_a_probability(gap: float) -> None:
    found = log1mexp(torch.tensor(gap, dtype=torch.float64))
    exact = math.log1p(-math.exp(-gap)) if gap > 1e-2 else math.log(-math.expm1(-gap))
    assert found.item() == pytest.approx(exact, rel=1e-12, abs=1e-300)


def test_log_of_one_minus_a_probability_does_not_cancel() -> None:
    gaps = torch.tensor([1e-12, 1e-5], dtype=torch.float64)
    torch.testing.assert_close(log1mexp(gaps), gaps.log() - gaps / 2, rtol=1e-12, atol=1e-11)
    assert log1mexp(torch.tensor(50.0, dtype=torch.float64)).item() == pytest.approx(-math.exp(-50))


@pytest.mark.parametrize("sharpness", [0.0, 300.0, 1e4])
def test_gradients_are_finite_for_certain_and_for_impossible_tokens(make_policy: MakePolicy, sharpness: float) -> None:
    policy = make_policy(backspace=False, sharpness=sharpness)
    loss = Unlikelihood().loss(policy, whole(policy)).total
    loss.backward()
    assert math.isfinite(loss.item())
    for parameter in policy.model.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


def test_an_end_token_that_starts_the_prompt_is_no_candidate(make_policy: MakePolicy) -> None:
    """As with GPT-2, whose texts begin with the token that ends them: ending must not be unlearnt."""
    policy = make_policy(backspace=False)
    policy.actions = replace(policy.actions, start=policy.actions.eos)
    examples = Dataset.from_dict({"prompt": [""], "completion": ["a"], "finished": [False]})
    batch = Batch(
        data=collate(trajectories_of(examples, policy), None), rollouts=None, rollout_weight=1.0, step=0, steps=1
    )
    assert Unlikelihood().loss(policy, batch).log["unlikelihood"] == 0


def test_training_with_it_repeats_less(make_policy: MakePolicy, context: Context) -> None:
    """On texts of which half repeat a letter, the policy repeats less often than one of maximum likelihood."""
    texts = ["aa", "bb", "cc", "dd", "ab", "bc", "cd", "da"] * 4
    examples = Dataset.from_dict({"prompt": [""] * 32, "completion": texts, "finished": [False] * 32})
    repeats = []
    for trainer in (MaximumLikelihood(), Unlikelihood(alpha=2.0)):
        here = replace(context, meter=Meter())
        policy = trainer.fit(make_policy(backspace=False), examples, Budget(steps=100), here)
        assert here.meter.steps == 100
        letters = policy.encode("abcd")
        after = policy.path_probabilities("", np.array(letters)[:, None])[:, 1]
        repeats.append(np.mean([after[row, letter] for row, letter in enumerate(letters)]))
    assert repeats[0] > 0.4
    assert repeats[1] < 0.8 * repeats[0]


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ValueError, match=r"alpha must lie in \[0, inf\), got -1"):
        Unlikelihood(alpha=-1)
