from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from datasets import Dataset
from scipy.stats import chisquare

from trainers.base import Budget, Context, Loss, Meter
from trainers.batches import Batch, Sequences
from trainers.decoding import Decoder
from trainers.generation import Sample, sample
from trainers.loop import train
from trainers.noise import Noise, NoiseKind, NoisySteps, noise_of
from trainers.policy import Policy
from trainers.replay import ReplayBuffer
from trainers.rollouts import Rollouts
from trainers.sequence_match import SequenceMatch, SequenceMatchBackspace

MakePolicy = Callable[..., Policy]
COUNT, ACTIONS = 4000, 8


def noise(policy: Policy, context: Context, kind: NoiseKind = "task", rate: float = 0.3) -> Noise:
    return noise_of(rate, kind, [], policy, replace(context, error_tokens=("d",)))


def walks(policy: Policy, noisy: NoisySteps | None, count: int = COUNT) -> list[Sample]:
    prompts = [policy.prompt_ids("a")] * count
    return sample(policy, prompts, Decoder(), 5, max_new_tokens=6, max_actions=ACTIONS, batch_size=500, noise=noisy)


def test_the_environment_acts_at_the_rate_of_noise_and_never_twice_in_a_row(
    make_policy: MakePolicy, context: Context
) -> None:
    where = noise(make_policy(), context).steps(20_000, 30, np.random.default_rng(0))
    after = ~where[:, :-1]
    assert where[:, 1:][after].mean() == pytest.approx(0.3, abs=0.005)
    assert not (where[:, 1:] & where[:, :-1]).any()
    assert where[:, 0].mean() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("kind", ["task", "policy"])
def test_where_the_environment_acts_tokens_come_from_noise_and_elsewhere_from_the_policy(
    kind: NoiseKind, make_policy: MakePolicy, context: Context
) -> None:
    policy = make_policy(sharpness=10.0)
    source = noise(policy, context, kind)
    noisy = NoisySteps(source, source.steps(COUNT, ACTIONS, np.random.default_rng(1)))
    found = walks(policy, noisy)
    d = policy.encode("d")[0]
    states = policy.path_probabilities("a", np.array([[d]]))
    letters = np.array(policy.encode("abcde"))
    written = np.eye(policy.actions.size)[d] if kind == "task" else np.zeros(policy.actions.size)
    if kind == "policy":
        written[letters] = states[0, 0, letters] / states[0, 0, letters].sum()

    def check(actions: list[int], expected: np.ndarray) -> None:
        observed, possible = np.bincount(actions, minlength=policy.actions.size), expected > 0
        assert observed.sum() > 100
        assert observed[~possible].sum() == 0
        assert possible.sum() == 1 or chisquare(observed[possible], observed.sum() * expected[possible]).pvalue > 1e-3

    check([one.actions[0] for row, one in enumerate(found) if noisy.where[row, 0]], written)
    check([one.actions[0] for row, one in enumerate(found) if not noisy.where[row, 0]], states[0, 0])
    answers = [one.actions[1] for row, one in enumerate(found) if noisy.where[row, 0] and one.actions[:2][0] == d]
    check(answers, states[0, 1])


def test_where_the_environment_never_acts_walks_are_the_plain_ones(make_policy: MakePolicy, context: Context) -> None:
    policy = make_policy()
    never = NoisySteps(noise(policy, context), np.zeros((50, ACTIONS), np.bool_))
    assert walks(policy, never, 50) == walks(policy, None, 50)


def test_the_buffer_marks_what_the_environment_wrote(make_policy: MakePolicy, context: Context) -> None:
    policy = make_policy()
    d = policy.encode("d")[0]
    buffer = ReplayBuffer(
        [tuple(policy.prompt_ids("a"))],
        context,
        Rollouts(batch=4, refresh=64, capacity=64),
        noise(policy, context),
    )
    buffer.draw(policy, 0)
    forced = [action for one in buffer.kept for action, own in zip(one.actions, one.expert, strict=True) if not own]
    assert len(forced) > 20
    assert set(forced) == {d}
    assert any(action != d for one in buffer.kept for action in one.actions)


def test_noise_on_rollouts_changes_training_and_lets_the_value_terms_mix(
    make_policy: MakePolicy, examples: Dataset, context: Context
) -> None:
    settings = {"noise": 0.3, "cloning_share": 0.3, "refresh": 8, "value_weight": 0.5}
    found = []
    for on in (False, True):
        policy, here = make_policy(), replace(context, meter=Meter())
        SequenceMatchBackspace(noise_rollouts=on, **settings).fit(policy, examples, Budget(steps=10), here)
        assert here.meter.steps == 10
        found.append(torch.cat([each.flatten() for each in policy.model.parameters()]))
    assert not torch.equal(*found)
    assert SequenceMatchBackspace(noise_rollouts=True).data_share == 0.5
    assert SequenceMatchBackspace(noise_rollouts=False).data_share == 1.0
    assert SequenceMatchBackspace(noise_rollouts=True, value_weight=0.9).data_share == 0.9
    assert SequenceMatchBackspace(noise=0.0).data_share == 0.5


@dataclass(frozen=True, kw_only=True)
class Watching(SequenceMatchBackspace):
    seen: list[Sequences]

    def loss(self, policy: Policy, batch: Batch) -> Loss:
        assert batch.rollouts is not None
        self.seen.append(batch.rollouts)
        return super().loss(policy, batch)


@dataclass(frozen=True, kw_only=True)
class InALoop(SequenceMatch):
    """A plug-in of before ``rollouts``: its ``fit`` calls the loop."""

    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        return train(self, policy, examples, budget, context)


def test_whoever_calls_the_loop_has_roll_outs_and_the_level_head(
    make_policy: MakePolicy, examples: Dataset, context: Context
) -> None:
    found = []
    for kind in (SequenceMatch, InALoop):
        trainer = kind(cloning_share=0.3, refresh=8, alpha=0.5, levels="head")
        policy, here = make_policy(backspace=False), replace(context, meter=Meter())
        trainer.fit(policy, examples, Budget(steps=10), here)
        found.append((here.meter.reading()["flops"], [each.tolist() for each in policy.model.parameters()]))
    assert found[0] == found[1]
    assert here.meter.generated_tokens > 0


def test_the_temperature_of_rollouts_reaches_training(make_policy: MakePolicy, context: Context) -> None:
    examples = Dataset.from_dict({"prompt": ["a"] * 4, "completion": ["bc"] * 4, "finished": [True] * 4})
    found = []
    for temperature in (1.0, 1e-3):
        trainer = Watching(seen=[], cloning_share=0.0, rollout_ratio=4.0, rollout_temperature=temperature)
        trainer.fit(make_policy(), examples, Budget(steps=1), replace(context, meter=Meter()))
        (rollouts,) = trainer.seen
        found.append(len(rollouts.labels.unique(dim=0)))
    assert found[0] > 4
    assert found[1] == 1, "nothing is drawn at a temperature of almost 0"


def test_cold_rollouts_are_greedier(make_policy: MakePolicy, context: Context) -> None:
    policy = make_policy(sharpness=5.0)
    best = int(policy.path_probabilities("a", np.zeros((1, 0), np.int64))[0, 0].argmax())
    shares = []
    for temperature in (1.0, 0.2):
        prompts = [tuple(policy.prompt_ids("a"))]
        wanted = Rollouts(batch=1, refresh=200, capacity=200, temperature=temperature)
        buffer = ReplayBuffer(prompts, context, wanted)
        buffer.draw(policy, 0)
        shares.append(np.mean([one.actions[0] == best for one in buffer.kept]))
    assert shares[1] > shares[0] + 0.2


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in ("batch", "refresh", "capacity", "refresh_every") for value in (0, 1.5)]
    + [("first_step", -1), ("first_step", 2.5), ("temperature", 0), ("temperature", float("nan"))],
)
def test_impossible_roll_outs_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"roll-outs: {name} must .*, got {value}"):
        Rollouts(**{"batch": 1, "refresh": 1, "capacity": 1, name: value})


def test_roll_outs_are_sampled_from_the_first_step_every_so_often() -> None:
    found = Rollouts(batch=1, refresh=1, capacity=1, refresh_every=3, first_step=2)
    assert [step for step in range(10) if found.due(step)] == [2, 5, 8]
    assert [step for step in range(4) if found.wanted(step)] == [2, 3]
