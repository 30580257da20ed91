from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from trainers.actions import ActionSpace
from trainers.backspace import IGNORE
from trainers.base import Budget, Context
from trainers.batches import Trajectory, collate, trajectories_of
from trainers.behavioral_cloning import BehavioralCloning
from trainers.mle import MaximumLikelihood
from trainers.noise import NOISE_KINDS, Noise, NoiseKind, add_noise, noise_of
from trainers.noised import NoisedTrainer
from trainers.policy import Policy

if TYPE_CHECKING:
    from trainers.base import Preparation

MakePolicy = Callable[..., Policy]
LETTERS = "abcde"
WITHOUT_A_MODEL = Policy(
    cast(PreTrainedModel, None),
    cast(PreTrainedTokenizerBase, None),
    ActionSpace(size=8, start=5, eos=6, bksp=7, forbidden=(5,)),
)


def noise(policy: Policy, kind: NoiseKind, context: Context, texts: list[str], rate: float = 0.3) -> Noise:
    examples = Dataset.from_dict({"prompt": [""] * len(texts), "completion": texts})
    return noise_of(rate, kind, trajectories_of(examples, policy), policy, replace(context, error_tokens=("a", "e")))


def own_distribution(policy: Policy, prompt: str) -> np.ndarray:
    """The policy's distribution over letters, from a plain forward pass."""
    letters = policy.encode(LETTERS)
    with torch.no_grad():
        logits = policy.model(torch.tensor([policy.prompt_ids(prompt)])).logits[0, -1].double()
    weights = logits[letters].exp()
    return (weights / weights.sum()).numpy()


def expected_noise(policy: Policy, kind: NoiseKind) -> np.ndarray:
    return {
        "uniform": np.full(5, 0.2),
        "unigram": np.array([4, 2, 1, 0, 1]) / 8,
        "task": np.array([0.5, 0, 0, 0, 0.5]),
        "policy": own_distribution(policy, "bd"),
    }[kind]


@pytest.mark.parametrize("kind", NOISE_KINDS)
def test_the_best_probability_to_erase_is_the_posterior_of_noise(
    kind: NoiseKind, make_policy: MakePolicy, context: Context
) -> None:
    """Counts over many noised texts against eta u(t) / (eta u(t) + (1 - eta) p(t|s)), for every u."""
    policy = make_policy()
    eta, p, u = 0.3, np.array([0.6, 0.3, 0.1, 0.0, 0.0]), expected_noise(policy, kind)
    letters, rng = policy.encode(LETTERS), np.random.default_rng(1)
    prompt = tuple(policy.prompt_ids("bd"))
    texts = [
        Trajectory(prompt, (letters[first], policy.actions.eos), True, (True, True))
        for first in rng.choice(5, size=40_000, p=p)
    ]
    source = noise(policy, kind, context, ["aab", "aabce"], eta)
    written, erased, noisy = (dict.fromkeys(letters, 0) for _ in range(3))
    for one in add_noise(texts, source, policy, rng):
        depth = 0
        for (action, expert), (following, _) in pairwise(zip(one.actions, one.expert, strict=True)):
            if action in written and depth == 0:
                written[action] += 1
                erased[action] += following == policy.actions.bksp
                noisy[action] += not expert
            depth += -1 if action == policy.actions.bksp else 1
    counts = np.array([[table[letter] for letter in letters] for table in (written, erased, noisy)])
    drawn = counts[2].sum()
    assert (np.abs(counts[2] / drawn - u) <= 4 * np.sqrt(u * (1 - u) / drawn) + 1e-12).all()
    seen = counts[0] > 0
    best = eta * u[seen] / (eta * u + (1 - eta) * p)[seen]
    error = np.sqrt(best * (1 - best) / counts[0][seen])
    assert (np.abs(counts[1][seen] / counts[0][seen] - best) <= 4 * error + 1e-12).all()


def test_noise_from_the_policy_follows_the_state_it_is_written_at(make_policy: MakePolicy, context: Context) -> None:
    policy = make_policy(sharpness=40.0)
    bksp = policy.actions.bksp
    actions = tuple(policy.encode("acd"))
    texts = [Trajectory(tuple(policy.prompt_ids("e")), actions, False, (True,) * 3)] * 4000
    tallies = np.zeros((3, 5))
    for one in add_noise(texts, noise(policy, "policy", context, ["a"], 0.5), policy, np.random.default_rng(0)):
        state = 0
        for action, expert in zip(one.actions, one.expert, strict=True):
            if not expert:
                tallies[state, policy.encode(LETTERS).index(action)] += 1
            elif action != bksp:
                state += 1
    for state, prompt in enumerate(("e", "ea", "eac")):
        u, total = own_distribution(policy, prompt), tallies[state].sum()
        assert (np.abs(tallies[state] / total - u) <= 4 * np.sqrt(u * (1 - u) / total) + 1e-12).all()
    assert np.abs(own_distribution(policy, "e") - own_distribution(policy, "ea")).max() > 0.1, "else this shows nothing"


def test_noise_from_the_policy_leaves_its_mode_and_gradients_alone(make_policy: MakePolicy, context: Context) -> None:
    policy = make_policy()
    policy.model.train()
    text = Trajectory(tuple(policy.prompt_ids("e")), tuple(policy.encode("abc")), False, (True,) * 3)
    add_noise([text] * 8, noise(policy, "policy", context, ["a"], 0.5), policy, np.random.default_rng(0))
    assert policy.model.training
    assert all(parameter.grad is None for parameter in policy.model.parameters())


def test_the_extra_pass_of_policy_noise_is_on_the_clock(
    make_policy: MakePolicy, examples: Dataset, context: Context
) -> None:
    flops = []
    for kind in ("uniform", "policy"):
        lent = replace(context, meter=type(context.meter)())
        BehavioralCloning(noise=1e-9, noise_kind=kind).fit(make_policy(), examples, Budget(steps=2), lent)
        flops.append(lent.meter.flops)
    assert flops[1] == pytest.approx(flops[0] * 4 / 3), "a forward pass is a third of a training step"


@given(st.lists(st.text("abcde", min_size=1, max_size=6), min_size=1, max_size=3), st.floats(0.05, 0.6), st.integers(0))
def test_noise_is_erased_again(texts: list[str], rate: float, seed: int) -> None:
    policy = WITHOUT_A_MODEL
    plain = [Trajectory((5,), tuple(map(LETTERS.index, text)), False, (True,) * len(text)) for text in texts]
    weights = torch.tensor([1, 1, 1, 1, 1, 0, 0, 0], dtype=torch.float64) / 5
    found = add_noise(plain, Noise(rate, weights), policy, np.random.default_rng(seed))
    for before, after in zip(plain, found, strict=True):
        steps = list(zip(after.actions, after.expert, strict=True))
        assert tuple(action for action, expert in steps if expert and action != 7) == before.actions
        assert len(after.actions) - len(before.actions) == 2 * after.expert.count(False)
        assert all(expert or after.actions[index + 1] == 7 for index, (_, expert) in enumerate(steps))


def test_noise_rate_is_per_visit() -> None:
    plain = Trajectory((5,), (1,) * 20_000, False, (True,) * 20_000)
    weights = torch.eye(8, dtype=torch.float64)[2]
    (noised,) = add_noise([plain], Noise(0.25, weights), WITHOUT_A_MODEL, np.random.default_rng(0))
    share = noised.expert.count(False) / (noised.expert.count(False) + 20_000)
    assert share == pytest.approx(0.25, abs=0.01)


def test_impossible_noise_is_refused(make_policy: MakePolicy, context: Context) -> None:
    policy = make_policy()
    with pytest.raises(ValueError, match="'ab' is 2 tokens"):
        noise_of(0.1, "task", [], policy, replace(context, error_tokens=("ab",)))
    with pytest.raises(ValueError, match="names plausible errors"):
        noise_of(0.1, "task", [], policy, context)
    with pytest.raises(ValueError, match="at least one token"):
        noise(policy, "unigram", context, ["", ""])
    with pytest.raises(ValueError, match="noise_kind must be one of uniform, unigram, task, policy, got 'wrong'"):
        BehavioralCloning(noise_kind="wrong")
    with pytest.raises(ValueError, match=r"noise must lie in \[0, 1\)"):
        BehavioralCloning(noise=1.0)


def test_the_noise_token_carries_no_loss_but_its_erasure_does(make_policy: MakePolicy, context: Context) -> None:
    policy = make_policy()
    text = Trajectory(tuple(policy.prompt_ids("")), tuple(policy.encode("abcdeabcde")), False, (True,) * 10)
    found = add_noise([text], noise(policy, "uniform", context, ["a"], 0.5), policy, np.random.default_rng(3))
    batch = collate(found, policy.actions.bksp)
    forced = (batch.labels != IGNORE) & ~batch.acts
    assert forced.sum() == (batch.labels == policy.actions.bksp).sum() > 3
    assert batch.acts[(batch.labels == policy.actions.bksp)].all()


@dataclass(frozen=True, kw_only=True)
class ShortFirst(MaximumLikelihood):
    def prepare(self, expert: list[Trajectory], policy: Policy, context: Context) -> Preparation:
        return lambda trajectories, step: sorted(trajectories, key=len)[: max(1, len(trajectories) - step)]


@dataclass(frozen=True, kw_only=True)
class NoisyShortFirst(NoisedTrainer, ShortFirst):
    pass


def test_noise_comes_on_top_of_what_the_trainer_beside_it_prepares(make_policy: MakePolicy, context: Context) -> None:
    policy = make_policy(backspace=True)
    examples = Dataset.from_dict({"prompt": [""] * 3, "completion": ["abcde", "a", "abc"]})
    expert = trajectories_of(examples, policy)
    prepared = NoisyShortFirst(noise=0.9).prepare(expert, policy, context)(expert, 2)
    assert len(prepared) == 1
    assert policy.actions.bksp in prepared[0].actions
    assert NoisyShortFirst(noise=0.0).prepare(expert, policy, context)(expert, 1) == [expert[1], expert[2]]
    with pytest.raises(ValueError, match="noise must lie in"):
        NoisyShortFirst(noise=1.0)
