"""The identities that any implementation of the objective must satisfy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from strategies import action_strings
from torch import Tensor

from trainers.actions import ActionSpace
from trainers.base import Budget, Context, Meter
from trainers.batches import Batch, Sequences, Trajectory, collate, trajectories_of
from trainers.divergences import DIVERGENCES
from trainers.mle import MaximumLikelihood, negative_log_likelihood
from trainers.objective import Terms, slots_that_count, terms
from trainers.policy import Policy
from trainers.scores import Scores, score, scores_of
from trainers.sequence_match import SequenceMatch, SequenceMatchBackspace

START, EOS, BKSP, SIZE = 5, 6, 7, 8
SPACE = ActionSpace(size=SIZE, start=START, eos=EOS, bksp=BKSP, forbidden=(START,))
MakePolicy = Callable[..., Policy]


def trajectory(actions: list[int], finished: bool = True, expert: list[bool] | None = None) -> Trajectory:
    actions = [*actions, EOS] if finished else actions
    return Trajectory((START,), tuple(actions), finished, tuple(expert or [True] * len(actions)))


def random_logits(sequences: Sequences, seed: int = 0) -> Tensor:
    """Free logits per slot; only the first identity may be tested on logits that ignore which state a slot is in."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(*sequences.labels.shape, SIZE, generator=generator, dtype=torch.float64)
    logits[..., START] = -torch.inf
    logits[..., BKSP].masked_fill_(sequences.at_root, -torch.inf)
    return logits.requires_grad_()


def scores(logits: Tensor, sequences: Sequences) -> Scores:
    where = slots_that_count(sequences)
    return scores_of(logits[where], sequences, where, SPACE)


def sums(
    logits: Tensor,
    sequences: Sequences,
    gamma: float,
    name: str = "chi2_mixture",
    scale: float = 0.1,
    goes_on: bool = False,
) -> Terms:
    return terms(
        scores(logits, sequences),
        sequences,
        gamma=gamma,
        scale=scale,
        divergence=DIVERGENCES[name],
        bksp=BKSP,
        goes_on=goes_on,
    )


@given(action_strings(bksp=BKSP), st.sampled_from([1.0, 0.998, 0.9, 0.5]))
def test_value_terms_telescope_to_the_value_of_the_start_state(actions: list[int], gamma: float) -> None:
    sequences = collate([trajectory(actions)], BKSP)
    logits = random_logits(sequences)
    start_value = logits[0, 0].logsumexp(-1)
    torch.testing.assert_close(sums(logits, sequences, gamma).value, start_value, atol=1e-10, rtol=0)


@given(action_strings(bksp=BKSP), st.sampled_from([1.0, 0.9]))
def test_a_cut_trajectory_telescopes_to_its_two_ends(actions: list[int], gamma: float) -> None:
    sequences = collate([trajectory(actions, finished=False)], BKSP)
    logits = random_logits(sequences)
    values = logits[0].logsumexp(-1)
    expected = values[0] - gamma ** len(actions) * values[len(actions)]
    torch.testing.assert_close(sums(logits, sequences, gamma).value, expected, atol=1e-10, rtol=0)


@given(action_strings(bksp=BKSP), action_strings(bksp=BKSP), st.booleans(), st.sampled_from([1.0, 0.9]))
def test_what_would_go_on_telescopes_to_its_start(
    one: list[int], other: list[int], finished: bool, gamma: float
) -> None:
    """Whatever follows a cut, the value terms of what was walked and of the rest add up to the value of the start."""
    sequences = collate([trajectory(one, finished=False), trajectory(other, finished)], BKSP)
    logits = random_logits(sequences)
    rows = [row for row, actions in enumerate((one, [*other, EOS] if finished else other)) if actions]
    found = sums(logits, sequences, gamma, goes_on=True)
    torch.testing.assert_close(found.value, logits[rows, 0].logsumexp(-1).sum(), atol=1e-10, rtol=0)
    plain = sums(logits, sequences, gamma)
    torch.testing.assert_close((found.match, found.penalty), (plain.match, plain.penalty))


def test_what_follows_noise_is_a_fresh_start_that_does_not_go_on() -> None:
    sequences = collate([trajectory([0, 1], finished=False, expert=[True, False])], BKSP)
    logits = random_logits(sequences)
    everywhere = torch.ones_like(sequences.real)
    given = scores_of(logits[everywhere], sequences, everywhere, SPACE)
    settings = {"gamma": 0.9, "scale": 0.1, "divergence": DIVERGENCES["chi2_mixture"]}
    plain, on = (terms(given, sequences, **settings, goes_on=each).value for each in (False, True))
    assert on == plain


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("finished", [True, False])
def test_without_curvature_it_is_discounted_maximum_likelihood(gamma: float, finished: bool) -> None:
    sequences = collate([trajectory([0, 1, BKSP, 2], finished), trajectory([3], finished)], BKSP)
    logits = random_logits(sequences)
    found = sums(logits, sequences, gamma)
    discount = gamma ** sequences.step.double()
    taken = logits.log_softmax(-1).gather(-1, sequences.labels.clamp(min=0)[..., None])[..., 0]
    likelihood = (discount * taken)[sequences.acts].sum()
    torch.testing.assert_close(found.match - found.value, likelihood, atol=1e-9, rtol=0)
    mine, theirs = (torch.autograd.grad(loss, logits)[0] for loss in (found.match - found.value, likelihood))
    torch.testing.assert_close(mine, theirs, atol=1e-9, rtol=0)
    if gamma == 1:
        torch.testing.assert_close(-negative_log_likelihood(scores(logits, sequences), sequences), likelihood)


def test_a_semi_gradient_leaves_the_objective_and_stops_at_the_successor() -> None:
    sequences = collate([trajectory([0], finished=False)], BKSP)
    logits = random_logits(sequences)
    found = [
        terms(
            scores(logits, sequences),
            sequences,
            gamma=0.9,
            scale=0.1,
            divergence=DIVERGENCES["chi2_mixture"],
            semi_gradient=semi,
        )
        for semi in (False, True)
    ]
    for name in ("match", "value", "penalty"):
        full, semi = (getattr(each, name) for each in found)
        torch.testing.assert_close(full, semi)
        at_successor = [torch.autograd.grad(each, logits, retain_graph=True)[0][0, 1] for each in (full, semi)]
        assert at_successor[0].any()
        assert not at_successor[1].any()


def test_the_objective_is_not_invariant_to_levels_but_likelihood_is() -> None:
    sequences = collate([trajectory([0, 1, 2])], BKSP)
    logits = random_logits(sequences)
    shifted = logits + torch.tensor([0.0, 3.0, 0.0, 0.0, 0.0])[:, None]
    before, after = (sums(each, sequences, 0.9) for each in (logits, shifted))
    assert abs((after.penalty - before.penalty).item()) > 1
    likelihoods = [negative_log_likelihood(scores(each, sequences), sequences) for each in (logits, shifted)]
    torch.testing.assert_close(*likelihoods)


def test_noise_contributes_nothing_and_does_not_raise_the_value_of_erroneous_states() -> None:
    noise = [True, False, True, True, True]
    noised = collate([trajectory([0, 4, BKSP, 1], expert=noise)], BKSP)
    logits = random_logits(noised)
    found = sums(logits, noised, 0.9)
    taken = logits.log_softmax(-1).gather(-1, noised.labels.clamp(min=0)[..., None])[0, :, 0]
    expected = sum(0.9**step * taken[step] for step in (0, 2, 3, 4))
    torch.testing.assert_close(found.match - found.value, expected, atol=1e-10, rtol=0)
    everything = sums(logits, collate([trajectory([0, 4, BKSP, 1])], BKSP), 0.9)
    wrong = torch.autograd.grad(found.match - everything.value, logits, retain_graph=True)[0]
    right = torch.autograd.grad(found.match - found.value, logits)[0]
    assert wrong[0, 2].sum() > 0.5, "the trap: skipping noise in phi alone raises V of the erroneous state"
    torch.testing.assert_close(right.sum(-1), torch.zeros(1, 6, dtype=torch.float64), atol=1e-9, rtol=0)


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("name", ["chi2_mixture", "chi2_mixture_exact"])
def test_on_open_texts_no_curvature_moves_maximum_likelihood(name: str, gamma: float) -> None:
    """Levels that follow the likelihood of the prefix make every reward 0; they are free where no text ends."""
    texts = [[0, 1], [0, 2], [0, 2], [1, 0]]
    sequences = collate([trajectory(text, finished=False) for text in texts], BKSP)
    table = torch.full((len(texts), 3, SIZE), -torch.inf, dtype=torch.float64)
    table[:, 0, [0, 1]] = torch.tensor([3 / 4, 1 / 4], dtype=torch.float64).log()
    table[:3, 1, [1, 2]] = torch.tensor([1 / 3, 2 / 3], dtype=torch.float64).log()
    table[3, 1, 0], table[:, 2, 0] = 0.0, 0.0
    taken = scores(table, sequences).log_probability
    for slot in (0, 1):
        table[:, slot + 1] += ((table[:, slot].logsumexp(-1) + taken[:, slot]) / gamma)[:, None]
    logits = table.requires_grad_()
    found = sums(logits, sequences, gamma, name, scale=10.0)
    assert found.penalty.item() == pytest.approx(0, abs=1e-20)
    (slope,) = torch.autograd.grad(found.match - found.value - 5 * found.penalty, logits)
    of_states = torch.stack([slope[:, 0].sum(0), slope[:3, 1].sum(0), slope[3, 1], slope[:, 2].sum(0)])
    torch.testing.assert_close(of_states, torch.zeros(4, SIZE, dtype=torch.float64))


def test_a_loop_costs_less_where_erasing_is_likely_most_so_after_an_improbable_token() -> None:
    """Over a token and its ``<bksp>`` rewards add up to what no level changes; the best level shares it equally."""
    gamma, value = 0.9, 0.3
    sequences = collate([trajectory([0, BKSP], finished=False)], BKSP)

    def cost(token: float, erasing: float) -> float:
        before, after = torch.full((2, SIZE), -torch.inf, dtype=torch.float64)
        before[[0, 1]] = torch.tensor([token, 1 - token], dtype=torch.float64).log()
        after[[BKSP, 1]] = torch.tensor([erasing, 1 - erasing], dtype=torch.float64).log()
        total = before[0] + gamma * after[BKSP] + (1 - gamma**2) * value
        level = (total / (1 + gamma) - after[BKSP] + gamma * value).requires_grad_()
        found = sums(torch.stack([before + value, after + level, before + value])[None], sequences, gamma)
        torch.testing.assert_close(found.match, total)
        torch.testing.assert_close(found.penalty, total**2 / (1 + gamma))
        torch.testing.assert_close(found.loop_penalty, gamma * (total / (1 + gamma)) ** 2)
        (slope,) = torch.autograd.grad(found.penalty, level)
        assert slope.item() == pytest.approx(0, abs=1e-9), "no level makes it cheaper"
        return found.penalty.item()

    costs = np.array([[cost(token, erasing) for erasing in (0.1, 0.5, 0.9)] for token in (0.5, 0.1, 0.01)])
    assert (np.diff(costs, axis=1) < 0).all()
    assert (np.diff(costs[:, 0] - costs[:, -1]) > 0).all()


def test_terminal_states_carry_the_rest_of_time() -> None:
    """The sums equal those of a trajectory whose forced actions at the end are written out one by one."""
    gamma, alpha, value = 0.9, 0.3, 1.7
    sequences = collate([trajectory([])], BKSP)
    logits = torch.zeros(1, 2, SIZE, dtype=torch.float64)
    logits[0, 1, EOS] = value
    steps = np.arange(1, 2000)
    reward = value - gamma * value
    for name, divergence in DIVERGENCES.items():
        found = sums(logits, sequences, gamma, name, alpha)
        first = logits[0, 0, EOS] - gamma * value
        phi = (gamma**steps).sum() * divergence.phi(torch.tensor(alpha * reward, dtype=torch.float64)) / alpha
        torch.testing.assert_close(found.match, divergence.phi(alpha * first) / alpha + phi, atol=1e-9, rtol=0)
        expected = first**2 + (gamma**steps).sum() * reward**2
        torch.testing.assert_close(found.penalty, expected, atol=1e-9, rtol=0)


def test_padding_changes_nothing() -> None:
    short, long = trajectory([0, 1]), trajectory([0, 1, 2, BKSP, 3, 4])
    together = collate([short, long], BKSP)
    logits = random_logits(together)
    alone = [collate([each], BKSP) for each in (short, long)]
    apart = [sums(logits[row : row + 1, : one.labels.shape[1]], one, 0.9) for row, one in enumerate(alone)]
    found = sums(logits, together, 0.9)
    for name in ("match", "value", "penalty"):
        torch.testing.assert_close(getattr(found, name), sum(getattr(each, name) for each in apart))


def test_the_loss_at_small_kappa_has_the_gradient_of_likelihood(make_policy: MakePolicy) -> None:
    """Identity 2 through the trainer, model and all, with the data's own value terms."""
    policy = make_policy(backspace=False)
    space = policy.actions
    data = [
        Trajectory((space.start,), (*policy.encode(text), space.eos), True, (True,) * (len(text) + 1))
        for text in ("abc", "de", "edcba")
    ]
    sequences = collate(data, None)
    batch = Batch(data=sequences, rollouts=sequences, rollout_weight=1.0, step=9, steps=10)
    trainer = SequenceMatch(gamma=1.0, c=0.0, value_weight=1.0, cloning_share=0.0, final_beta=0.0)
    gradients = []
    likelihood = negative_log_likelihood(score(policy, sequences, sequences.acts)[0], sequences)
    for loss in (trainer.loss(policy, batch).total, likelihood):
        policy.model.zero_grad()
        loss.backward()
        gradients.append([parameter.grad.clone() for parameter in policy.model.parameters()])
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def likelihood(policy: Policy, sequences: Sequences) -> float:
    return float(negative_log_likelihood(score(policy, sequences, sequences.acts)[0], sequences))


@pytest.mark.parametrize("finished", [True, False])
def test_a_step_of_training_at_small_kappa_is_one_of_likelihood(
    make_policy: MakePolicy, context: Context, finished: bool
) -> None:
    """Cut texts too: by default their value terms run over the data alone."""
    data = Dataset.from_dict({"prompt": ["", "a"], "completion": ["abcde", "dec"], "finished": [finished] * 2})
    found = []
    match = SequenceMatch(
        gamma=1.0,
        c=0.0,
        value_weight=1.0 if finished else None,
        cloning_share=0.0,
        annealing_share=0.0,
        final_beta=0.0,
        refresh=4,
    )
    for trainer in (match, MaximumLikelihood()):
        policy = make_policy(backspace=False)
        sequences = collate(trajectories_of(data, policy), None)
        before = likelihood(policy, sequences)
        trainer.fit(policy, data, Budget(steps=5), replace(context, meter=Meter()))
        found.append(likelihood(policy, sequences))
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert found[0] < 0.95 * before


def test_rollouts_that_were_cut_go_on_and_data_do_not(make_policy: MakePolicy) -> None:
    policy = make_policy()
    start, actions = policy.actions.start, tuple(policy.encode("abcd"))
    cut = collate([Trajectory((start,), actions, False, (True,) * 4)], policy.actions.bksp)
    batch = Batch(data=cut, rollouts=cut, rollout_weight=2.0, step=9, steps=10)
    log = SequenceMatch(cloning_share=0.0, gamma=0.9).loss(policy, batch).log
    values = score(policy, cut, cut.real)[0].v[0]
    assert log["rollout_value"] == pytest.approx(2 * values[0].item(), rel=1e-5)
    assert log["data_value"] == pytest.approx((values[0] - 0.9**4 * values[4]).item(), rel=1e-5)


def mixed(policy: Policy) -> Batch:
    """Noise in the data, a loop and a cut among the roll-outs, and three texts to a roll-out."""
    start, eos, bksp = policy.actions.start, policy.actions.eos, policy.actions.bksp
    a, b, c, d = policy.encode("abcd")
    data = [
        Trajectory((start,), (a, d, bksp, b, eos), True, (True, False, True, True, True)),
        Trajectory((start, c), (b, c), False, (True,) * 2),
    ]
    own = [
        Trajectory((start,), (d, bksp, c), False, (True,) * 3),
        Trajectory((start, c), (a, eos), True, (True,) * 2),
    ]
    return Batch(data=collate(data, bksp), rollouts=collate(own, bksp), rollout_weight=3.0, step=9, steps=10)


@pytest.mark.parametrize("semi_gradient", [False, True])
@pytest.mark.parametrize("name", list(DIVERGENCES))
def test_the_loss_is_the_objective_put_together_from_its_terms(
    make_policy: MakePolicy, name: str, semi_gradient: bool
) -> None:
    """And so is its gradient; what the terms are worth together is the concern of the test of duality."""
    policy = make_policy()
    policy.model.double()
    batch = mixed(policy)
    assert batch.rollouts is not None
    trainer = SequenceMatchBackspace(
        divergence=name,
        semi_gradient=semi_gradient,
        alpha=0.05,
        c=2.0,
        gamma=0.9,
        value_weight=0.7,
        cloning_share=0.0,
        final_beta=0.4,
    )
    data, own = (
        terms(
            score(policy, sequences, slots_that_count(sequences))[0],
            sequences,
            gamma=0.9,
            scale=0.1 if name == "chi2_mixture_exact" else 0.05,
            divergence=DIVERGENCES[name],
            bksp=policy.actions.bksp,
            semi_gradient=semi_gradient,
            goes_on=goes_on,
        )
        for sequences, goes_on in ((batch.data, False), (batch.rollouts, True))
    )
    objective = data.match - 0.7 * data.value - 0.3 * 3 * own.value
    if name == "chi2_mixture":
        objective = objective - 0.1 / 2 * (data.penalty + 3 * own.penalty)
    cloning = negative_log_likelihood(score(policy, batch.data, batch.data.acts)[0], batch.data)
    losses = trainer.loss(policy, batch).total, 0.4 * cloning - 0.6 * objective
    torch.testing.assert_close(*losses)
    gradients = [torch.autograd.grad(loss, list(policy.model.parameters())) for loss in losses]
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["chi2_mixture", "chi2_mixture_exact"])
def test_only_the_product_of_c_and_alpha_matters_to_a_mixture(make_policy: MakePolicy, name: str) -> None:
    policy = make_policy()
    first, same, other = (
        SequenceMatchBackspace(divergence=name, c=c, alpha=alpha, cloning_share=0.0).loss(policy, mixed(policy)).total
        for c, alpha in ((2.0, 0.1), (0.5, 0.4), (2.0, 0.2))
    )
    torch.testing.assert_close(first, same)
    assert abs(first - other) > 0.1
