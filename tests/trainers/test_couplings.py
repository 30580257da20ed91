"""What the quadratic term can and cannot reach: levels are free along open paths, and tied by ends and by loops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import action_strings
from test_objective import BKSP, SIZE, random_logits, sums, trajectory

from trainers.batches import Trajectory, collate
from trainers.divergences import DIVERGENCES
from trainers.objective import slots_that_count, terms
from trainers.policy import Policy
from trainers.scores import score


def discounted(log_policy: torch.Tensor, actions: list[int], gamma: float) -> torch.Tensor:
    return sum((gamma**step * log_policy[step, action] for step, action in enumerate(actions)), torch.zeros(()))


@given(action_strings(bksp=BKSP), st.sampled_from([0.998, 0.9, 0.5]))
def test_the_rewards_of_a_complete_text_are_its_likelihood_and_the_level_it_starts_at(
    actions: list[int], gamma: float
) -> None:
    whole = trajectory(actions)
    sequences = collate([whole], BKSP)
    logits = random_logits(sequences)
    likelihood = discounted(logits[0].log_softmax(-1), list(whole.actions), gamma)
    rewards = sums(logits, sequences, gamma).match
    torch.testing.assert_close(rewards - likelihood, logits[0, 0].logsumexp(-1), atol=1e-9, rtol=0)


@given(action_strings(bksp=SIZE), st.sampled_from([0.998, 0.9]))
def test_free_levels_make_an_open_path_free_of_penalty_and_leave_likelihood(actions: list[int], gamma: float) -> None:
    actions = [action for action in actions if action != SIZE]
    sequences = collate([trajectory(actions, finished=False)], BKSP)
    log_policy = random_logits(sequences).detach()[0].log_softmax(-1)
    levels = [0.7]
    for step, action in enumerate(actions):
        levels.append((levels[-1] + log_policy[step, action].item()) / gamma)
    logits = (log_policy + torch.tensor(levels, dtype=torch.float64)[:, None])[None].requires_grad_()
    found = sums(logits, sequences, gamma)
    assert found.penalty.item() < 1e-18
    if actions:
        objective = found.match - found.value - 10 * found.penalty
        likelihood = discounted(logits[0].log_softmax(-1), actions, gamma)
        mine, theirs = (torch.autograd.grad(each, logits)[0] for each in (objective, likelihood))
        torch.testing.assert_close(mine, theirs, atol=1e-8, rtol=0)


@pytest.mark.parametrize("gamma", [0.9, 0.998])
def test_no_level_frees_a_loop(make_policy: Callable[..., Policy], gamma: float) -> None:
    policy = make_policy()
    space = policy.actions
    token = policy.encode("a")[0]
    walk = Trajectory((space.start,), (token, space.bksp), False, (True, True))
    sequences = collate([walk], space.bksp)
    scores, _ = score(policy, sequences, slots_that_count(sequences))
    rewards = terms(scores, sequences, gamma=gamma, scale=0.1, divergence=DIVERGENCES["chi2_mixture"]).match
    log_policy = policy.logits(sequences).double()[0].log_softmax(-1)
    level = scores.v[0, 0]
    torch.testing.assert_close(scores.v[0, 2], level, atol=1e-5, rtol=0)
    expected = log_policy[0, token] + gamma * log_policy[1, space.bksp] + (1 - gamma**2) * level
    torch.testing.assert_close(rewards.double(), expected.double(), atol=1e-5, rtol=0)
