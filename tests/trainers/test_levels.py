from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset

from trainers.backspace import visible
from trainers.base import Budget, Context, Meter
from trainers.batches import Batch, Trajectory, collate, trajectories_of
from trainers.levels import level_head
from trainers.mle import negative_log_likelihood
from trainers.noise import Noise, add_noise
from trainers.objective import slots_that_count
from trainers.policy import Policy
from trainers.scores import score
from trainers.sequence_match import SequenceMatch, SequenceMatchBackspace

MakePolicy = Callable[..., Policy]
SETTINGS = {"cloning_share": 0.0, "final_beta": 0.3, "c": 10.0}


def batch(policy: Policy, examples: Dataset, step: int = 9) -> Batch:
    bksp = policy.actions.bksp
    data: list[Trajectory] = trajectories_of(examples, policy)
    return Batch(data=collate(data, bksp), rollouts=collate(data[:4], bksp), rollout_weight=2.0, step=step, steps=10)


def test_a_head_at_zero_changes_nothing(make_policy: MakePolicy, examples: Dataset) -> None:
    policy = make_policy()
    one = batch(policy, examples)
    without = SequenceMatchBackspace(**SETTINGS).loss(policy, one)
    with level_head(policy):
        having = SequenceMatchBackspace(levels="head", **SETTINGS).loss(policy, one)
    assert torch.equal(without.total, having.total)
    assert without.log == having.log


def test_any_head_moves_the_objective_but_not_the_policy(make_policy: MakePolicy, examples: Dataset) -> None:
    policy = make_policy()
    one = batch(policy, examples)
    trainer = SequenceMatchBackspace(levels="head", **SETTINGS)
    before, logits = trainer.loss(policy, one), policy.logits(one.data)
    where = slots_that_count(one.data)
    scores, _ = score(policy, one.data, where)
    with level_head(policy) as head:
        torch.nn.init.normal_(head.affine.weight, std=3.0, generator=torch.Generator().manual_seed(0))
        torch.nn.init.constant_(head.affine.bias, 2.0)
        after = trainer.loss(policy, one)
        assert torch.equal(policy.logits(one.data), logits)
        level = torch.randn(where.shape, generator=torch.Generator().manual_seed(1))
        shifted = scores.raised(level)
        torch.testing.assert_close(shifted.log_probability, scores.log_probability, atol=1e-5, rtol=0)
        torch.testing.assert_close(
            negative_log_likelihood(shifted, one.data), negative_log_likelihood(scores, one.data)
        )
    assert after.log["cloning"] == before.log["cloning"]
    assert abs(after.log["data_penalty"] - before.log["data_penalty"]) > 1


def test_a_constant_level_is_a_constant_on_all_logits(make_policy: MakePolicy, examples: Dataset) -> None:
    """The head's bias does to the objective what a bias on every row of the output layer does."""
    policy = make_policy()
    one = batch(policy, examples)
    trainer = SequenceMatchBackspace(levels="head", **SETTINGS)
    with level_head(policy) as head:
        torch.nn.init.constant_(head.affine.bias, 1.5)
        mine = trainer.loss(policy, one).log
    policy.model.get_output_embeddings().register_forward_hook(lambda layer, inputs, output: output + 1.5)
    theirs = trainer.loss(policy, one).log
    assert mine == pytest.approx(theirs, rel=1e-4)


def test_gradients_reach_the_head_and_the_policy(make_policy: MakePolicy, examples: Dataset) -> None:
    policy = make_policy()
    with level_head(policy) as head:
        SequenceMatchBackspace(levels="head", **SETTINGS).loss(policy, batch(policy, examples)).total.backward()
        for parameter in (*head.parameters(), *policy.model.parameters()):
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0


def test_likelihood_gives_the_head_no_gradient(make_policy: MakePolicy, examples: Dataset) -> None:
    policy = make_policy()
    trainer = SequenceMatchBackspace(levels="head", **{**SETTINGS, "cloning_share": 0.5})
    with level_head(policy) as head:
        trainer.loss(policy, batch(policy, examples, step=4)).total.backward()
        assert all(parameter.grad is None for parameter in head.parameters())


def weights(policy: Policy) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in policy.model.state_dict().items()}


def fit(trainer: SequenceMatch, policy: Policy, examples: Dataset, context: Context) -> list[Mapping[str, float]]:
    rows: list[Mapping[str, float]] = []
    trainer.fit(policy, examples, Budget(steps=40), replace(context, report=rows.append, meter=Meter()))
    assert rows[-1]["step"] == 40
    return rows


def test_the_warm_up_moves_the_head_alone(make_policy: MakePolicy, examples: Dataset, context: Context) -> None:
    policy = make_policy()
    before = weights(policy)
    trainer = SequenceMatchBackspace(cloning_share=0.0, levels="head", level_warmup_share=1.0, refresh=8, c=10.0)
    rows = fit(trainer, policy, examples, context)
    after = weights(policy)
    assert after.keys() == before.keys(), "the head is gone"
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert rows[-1]["sequence_match"] < rows[0]["sequence_match"], "but it learnt"


def test_training_with_a_head(make_policy: MakePolicy, examples: Dataset, context: Context, tmp_path: Path) -> None:
    plain, headed = make_policy(), make_policy()
    settings = {"cloning_share": 0.2, "refresh": 8, "c": 10.0}
    fit(SequenceMatchBackspace(**settings), plain, examples, context)
    fit(SequenceMatchBackspace(levels="head", level_warmup_share=0.2, **settings), headed, examples, context)
    assert any(not torch.equal(weights(plain)[name], value) for name, value in weights(headed).items())
    headed.save(tmp_path)
    loaded = Policy.load(tmp_path)
    assert weights(loaded).keys() == weights(headed).keys()
    assert all(torch.equal(weights(loaded)[name], value) for name, value in weights(headed).items())
    sequences = batch(headed, examples).data
    assert torch.equal(loaded.logits(sequences), headed.logits(sequences))


def test_the_schedule_has_three_parts() -> None:
    trainer = SequenceMatch(cloning_share=0.5, levels="head", level_warmup_share=0.2, final_beta=0.1)
    assert trainer.cloning_steps(100) == 50
    assert [trainer.beta(step, 100) for step in (0, 50, 70)] == [1.0] * 3
    assert trainer.beta(99, 100) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levels": "nope"}, "levels must be 'logits' or 'head', got 'nope'"),
        ({"level_warmup_share": 0.1}, "level_warmup_share needs levels = 'head'"),
        ({"levels": "head", "level_warmup_share": 2.0}, "level_warmup_share must lie in"),
        ({"levels": "head", "level_warmup_share": 0.6, "cloning_share": 0.5}, "cloning_share and level_warmup_share"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SequenceMatch(**settings)


@torch.no_grad()
def reference(policy: Policy, data: list[Trajectory], gamma: float, goes_on: bool) -> dict[str, float]:
    """The terms step by step, by plain forward passes over what is visible."""
    found = dict.fromkeys(("match", "value", "penalty", "terminal_penalty", "loop_penalty"), 0.0)
    for one in data:
        rows = []
        for step in range(len(one.actions) + 1):
            text = visible(one.actions[:step], policy.actions.bksp)
            row = policy.model(torch.tensor([[*one.prompt, *text]])).logits[:, -1]
            rows.append(policy.actions.mask(row, torch.tensor([not text]))[0].double())
        v = [float(row.logsumexp(-1)) for row in rows]
        rest = gamma ** len(one.actions) if one.finished or goes_on else 0.0
        if one.finished:
            v[-1] = float(rows[-1][policy.actions.eos])
            found["match"] += rest * v[-1]
            found["terminal_penalty"] += rest / (1 - gamma) * ((1 - gamma) * v[-1]) ** 2
        found["value"] += rest * v[-1]
        for step, (action, own) in enumerate(zip(one.actions, one.expert, strict=True)):
            if own:
                x = float(rows[step][action]) - gamma * v[step + 1]
                found["match"] += gamma**step * x
                found["value"] += gamma**step * (v[step] - gamma * v[step + 1])
                found["penalty"] += gamma**step * x**2
                found["loop_penalty"] += gamma**step * x**2 * (action == policy.actions.bksp)
    return {**found, "penalty": found["penalty"] + found["terminal_penalty"]}


def test_terms_apart_add_up(make_policy: MakePolicy, examples: Dataset) -> None:
    """The parts of the learning curve give the objective again; terminals and loops are parts of the penalty."""
    policy = make_policy()
    policy.model.get_output_embeddings().weight.data[policy.actions.eos] = 1.0
    uniform = torch.zeros(policy.actions.size, dtype=torch.float64)
    uniform[list(policy.actions.appendable)] = 0.2
    data = add_noise(trajectories_of(examples, policy), Noise(0.4, uniform), policy, np.random.default_rng(0))
    own = data[2:5]
    bksp = policy.actions.bksp
    one = Batch(data=collate(data, bksp), rollouts=collate(own, bksp), rollout_weight=2.0, step=9, steps=10)
    trainer = SequenceMatchBackspace(value_weight=0.7, **SETTINGS)
    log = trainer.loss(policy, one).log
    expected = {f"data_{name}": value for name, value in reference(policy, data, trainer.gamma, False).items()}
    expected["match"] = expected.pop("data_match")
    theirs = reference(policy, own, trainer.gamma, True)
    expected |= {f"rollout_{name}": 2 * value for name, value in theirs.items() if name != "match"}
    assert {name: log[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    objective = log["match"] - 0.7 * log["data_value"] - 0.3 * log["rollout_value"]
    objective -= trainer.c * trainer.alpha / 2 * (log["data_penalty"] + log["rollout_penalty"])
    assert log["sequence_match"] == pytest.approx(-objective, rel=1e-5)
    assert log["data_terminal_penalty"] > 0
    assert log["data_loop_penalty"] > 0
    assert log["data_terminal_penalty"] + log["data_loop_penalty"] < log["data_penalty"]
    plain = collate(trajectories_of(examples, policy), policy.actions.bksp)
    without = trainer.loss(policy, replace(one, data=plain)).log
    assert without["data_loop_penalty"] == 0
    cut = examples.remove_columns("finished").add_column("finished", [False] * len(examples))
    ended = trainer.loss(policy, replace(one, data=collate(trajectories_of(cut, policy), policy.actions.bksp))).log
    assert ended["data_terminal_penalty"] == 0
