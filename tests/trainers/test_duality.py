"""Strong duality: the method itself, on a process small enough to be solved both ways.

On texts of at most two letters, maximising the objective over free logits must give the value, and the
policy, of ``min_policy [D(data, policy) - alpha H(policy)] / alpha``, found without any Q-value in sight. The
left side runs through the production code on a data set of trajectories; the right side has its own occupancies
and the divergences in closed form.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from trainers.actions import ActionSpace
from trainers.backspace import visible
from trainers.batches import Sequences, Trajectory, collate
from trainers.divergences import DIVERGENCES, Divergence
from trainers.objective import slots_that_count, terms
from trainers.scores import scores_of

GAMMA, ALPHA = 0.9, 0.1
ROUNDS = 8
A, B, EOS, BKSP, START, SIZE = 0, 1, 2, 3, 4, 5
SPACE = ActionSpace(size=SIZE, start=START, eos=EOS, bksp=BKSP, forbidden=(START,))
TEXTS = [text for length in range(3) for text in itertools.product((A, B), repeat=length)]
ROWS = {text: row for row, text in enumerate(TEXTS)}

CLOSED_FORMS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "forward_kl": lambda d, m, c: (d * (d / m).log()).sum(),
    "reverse_kl": lambda d, m, c: (m * (m / d).log()).sum(),
    "hellinger": lambda d, m, c: (d.sqrt() - m.sqrt()).square().sum(),
    "jensen_shannon": lambda d, m, c: (d * (2 * d / (d + m)).log() + m * (2 * m / (d + m)).log()).sum(),
    "chi2": lambda d, m, c: ((d - m).square() / d).sum(),
    "chi2_mixture": lambda d, m, c: ((d - m).square() / (2 * (d + m))).sum() / c,
    "chi2_mixture_exact": lambda d, m, c: ((d - m).square() / (2 * (d + m))).sum() / c,
}


@dataclass(frozen=True)
class Walks:
    """Trajectories laid out, and for every slot its row in a table with the layout of ``Process._visits``."""

    sequences: Sequences
    rows: Tensor

    @classmethod
    def of(cls, walks: list[tuple[int, ...]]) -> Walks:
        sequences = collate([Trajectory((START,), walk, True, (True,) * len(walk)) for walk in walks], BKSP)
        rows = torch.zeros(sequences.labels.shape, dtype=torch.long)
        for index, walk in enumerate(walks):
            states = [ROWS[tuple(visible(walk[:step], BKSP))] for step in range(len(walk))]
            rows[index, : len(walk) + 1] = torch.tensor([*states, len(TEXTS) + states[-1]])
        return cls(sequences, rows)

    def terms(self, table: Tensor, divergence: Divergence, c: float) -> tuple[Tensor, ...]:
        """Match, value and penalty by the production code, as expectations."""
        where = slots_that_count(self.sequences)
        scores = scores_of(table[self.rows][where], self.sequences, where, SPACE)
        found = terms(scores, self.sequences, gamma=GAMMA, scale=divergence.scale(ALPHA, c), divergence=divergence)
        return tuple(each * (1 - GAMMA) / len(self.rows) for each in (found.match, found.value, found.penalty))


class Process:
    """The tree of texts, its tabular policies, and a data set of trajectories that covers it."""

    def __init__(self, backspace: bool) -> None:
        possible = torch.zeros(len(TEXTS), SIZE, dtype=torch.bool)
        for text, row in ROWS.items():
            possible[row, [A, B]] = len(text) < 2
            possible[row, EOS] = True
            possible[row, BKSP] = backspace and len(text) > 0
        self.possible = possible
        rng = np.random.default_rng(0)
        expert, others = ([self._walk(rng) for _ in range(count)] for count in (60, 9))
        self.expert, self.others = Walks.of(expert), Walks.of(others)
        self.data = torch.stack([self._visits(walk) for walk in expert]).mean(0)
        assert bool((self.data[: len(TEXTS)][possible] > 0).all()), "the expert must cover the process"

    def _walk(self, rng: np.random.Generator) -> tuple[int, ...]:
        actions: list[int] = []
        while EOS not in actions:
            row = self.possible[ROWS[tuple(visible(actions, BKSP))]]
            actions.append(int(rng.choice(torch.nonzero(row)[:, 0].numpy())))
        return tuple(actions)

    def _visits(self, walk: tuple[int, ...]) -> Tensor:
        """Discounted visits of one trajectory: texts by action, then absorbing states by the forced action."""
        found = torch.zeros(2 * len(TEXTS), SIZE, dtype=torch.float64)
        for step, action in enumerate(walk):
            found[ROWS[tuple(visible(walk[:step], BKSP))], action] += (1 - GAMMA) * GAMMA**step
        found[len(TEXTS) + ROWS[tuple(visible(walk[:-1], BKSP))], EOS] += GAMMA ** len(walk)
        return found

    def policy(self, logits: Tensor) -> Tensor:
        return logits.masked_fill(~self.possible, -torch.inf).softmax(-1)

    def occupancy(self, policy: Tensor) -> Tensor:
        """Solve the flow equations; same layout as ``_visits``."""
        step = torch.zeros(len(TEXTS), len(TEXTS), dtype=torch.float64)
        for text, row in ROWS.items():
            for action in (A, B):
                if len(text) < 2:
                    step[row, ROWS[(*text, action)]] += policy[row, action]
            if text:
                step[row, ROWS[text[:-1]]] += policy[row, BKSP]
        start = torch.zeros(len(TEXTS), dtype=torch.float64)
        start[0] = 1 - GAMMA
        at = torch.linalg.solve(torch.eye(len(TEXTS), dtype=torch.float64) - GAMMA * step.T, start)
        absorbed = torch.zeros(len(TEXTS), SIZE, dtype=torch.float64)
        absorbed[:, EOS] = GAMMA / (1 - GAMMA) * at * policy[:, EOS]
        return torch.cat([at[:, None] * policy, absorbed])


def optimum(loss: Callable[[Tensor], Tensor], size: int, start: np.ndarray | None = None) -> np.ndarray:
    def value_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        point = torch.from_numpy(flat.copy()).requires_grad_()
        value = loss(point)
        value.backward()
        assert point.grad is not None
        return value.item(), point.grad.numpy()

    found = np.zeros(size) if start is None else start
    for _ in range(3):
        found = minimize(value_and_gradient, found, jac=True, method="BFGS", options={"gtol": 1e-11, "maxiter": 3000}).x
    return found


def primal(process: Process, name: str, c: float) -> tuple[float, Tensor]:
    """Minimise the divergence minus alpha times the causal entropy over policies."""
    seen = process.data > 0

    def loss(flat: Tensor) -> Tensor:
        policy = process.policy(flat.view(len(TEXTS), SIZE))
        model = process.occupancy(policy)
        surprise = -policy.clamp(min=1e-300).log()
        entropy = (model[: len(TEXTS)] * surprise).sum()
        return (CLOSED_FORMS[name](process.data[seen], model[seen], c) - ALPHA * entropy) / ALPHA

    flat = optimum(loss, len(TEXTS) * SIZE)
    return float(loss(torch.from_numpy(flat))), process.policy(torch.from_numpy(flat).view(len(TEXTS), SIZE))


def dual(process: Process, divergence: Divergence, c: float, value_weight: float = 1.0) -> tuple[float, Tensor]:
    """Maximise the objective over free logits, through the production code."""
    rows = len(TEXTS)
    impossible = torch.cat([~process.possible, torch.zeros(rows, SIZE, dtype=torch.bool)])

    def objective(flat: Tensor, model: Tensor | None) -> Tensor:
        table = flat.view(2 * rows, SIZE).masked_fill(impossible, -torch.inf)
        match, value, penalty = process.expert.terms(table, divergence, c)
        if value_weight < 1:
            value = value_weight * value + (1 - value_weight) * process.others.terms(table, divergence, c)[1]
        total = match - value
        if model is not None:
            total = total - c * ALPHA / 2 * (penalty + (model * rewards(table).square())[model > 0].sum())
        return total

    def rewards(table: Tensor) -> Tensor:
        """x for every text and action, and for every absorbing state."""
        v = torch.cat([table[:rows].logsumexp(-1), table[rows:, EOS]])
        after = torch.full((2 * rows, SIZE), -1)
        for text, row in ROWS.items():
            for action in (A, B):
                after[row, action] = ROWS.get((*text, action), -1)
            after[row, BKSP] = ROWS.get(text[:-1], -1)
            after[row, EOS] = after[rows + row, EOS] = rows + row
        return torch.where(torch.isfinite(table), table, 0.0) - GAMMA * v[after]

    def policy(flat: np.ndarray) -> Tensor:
        return process.policy(torch.from_numpy(flat)[: rows * SIZE].view(rows, SIZE))

    flat, model = np.zeros(2 * rows * SIZE), None
    for _ in range(ROUNDS if divergence.penalised else 1):
        if divergence.penalised:
            model = process.occupancy(policy(flat))
        before = flat
        flat = optimum(lambda point, model=model: -objective(point, model), len(flat), flat)
        if (policy(flat) - policy(before)).abs().max() < 1e-7:
            break
    return float(objective(torch.from_numpy(flat), model)), policy(flat)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "backspace"])
def process(request: pytest.FixtureRequest) -> Process:
    return Process(request.param)


@pytest.mark.parametrize(
    ("name", "c", "value_weight"),
    [
        *((name, 1.0, 1.0) for name, each in DIVERGENCES.items() if not each.penalised),
        ("chi2_mixture_exact", 0.25, 1.0),
        ("chi2_mixture_exact", 1.0, 0.5),
    ],
)
def test_both_ways_give_the_same_value_and_policy(process: Process, name: str, c: float, value_weight: float) -> None:
    """Whatever trajectories from the same start the value terms run over."""
    value, policy = primal(process, name, c)
    other, same = dual(process, DIVERGENCES[name], c, value_weight)
    assert other == pytest.approx(value, abs=1e-8)
    torch.testing.assert_close(same, policy, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("kappa", "in_value", "in_policy"),
    [
        (0.0005, 1e-10, 1e-5),
        pytest.param(0.005, 1e-8, 1e-4, marks=pytest.mark.long),
        pytest.param(0.05, 1e-5, 5e-3, marks=pytest.mark.long),
        pytest.param(0.3, 1e-3, 4e-2, marks=pytest.mark.long),
    ],
)
def test_the_penalty_form_is_close_where_its_curvature_is_small(
    process: Process, kappa: float, in_value: float, in_policy: float
) -> None:
    value, policy = primal(process, "chi2_mixture", kappa / ALPHA)
    other, close = dual(process, DIVERGENCES["chi2_mixture"], kappa / ALPHA)
    assert other == pytest.approx(value, abs=in_value)
    torch.testing.assert_close(close, policy, atol=in_policy, rtol=0)


def test_complete_texts_are_pulled_towards_equal_likelihood_the_more_the_greater_the_curvature() -> None:
    process = Process(backspace=False)

    def spread(policy: Tensor) -> float:
        steps = [[(ROWS[text[:step]], text[step]) for step in range(len(text))] + [(ROWS[text], EOS)] for text in TEXTS]
        return float(torch.stack([sum(policy[step].log() for step in each) for each in steps]).std())

    visits = process.data[: len(TEXTS)]
    spreads = [spread(visits / visits.sum(-1, keepdim=True))]
    spreads += [spread(dual(process, DIVERGENCES["chi2_mixture_exact"], kappa / ALPHA)[1]) for kappa in (0.5, 50)]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[1] < 0.95 * spreads[0]
    assert spreads[2] < 0.2 * spreads[0]


@given(d=st.floats(0.05, 1), m=st.floats(0.05, 1), c=st.sampled_from([0.25, 1.0, 4.0]))
def test_the_best_reward_of_a_mixture_lies_within_one_over_c(d: float, m: float, c: float) -> None:
    """In both forms, r and r + (c/2) r^2, by looking at many; and the two are worth the same."""
    rewards = torch.linspace(-1.5 / c, 3 / c, 4501, dtype=torch.float64)
    penalised, exact = DIVERGENCES["chi2_mixture"], DIVERGENCES["chi2_mixture_exact"]
    with_penalty = d * penalised.phi(rewards) - m * rewards - c / 2 * (d + m) * rewards.square()
    scale = exact.scale(1.0, c)
    without = d * exact.phi(scale * rewards) / scale - m * rewards
    best, other = (rewards[values.argmax()].item() for values in (with_penalty, without))
    assert abs(best) <= 1 / c
    assert other == pytest.approx(best + c / 2 * best**2, abs=2e-2 / c)
    expected = CLOSED_FORMS["chi2_mixture"](*torch.tensor([d, m], dtype=torch.float64), c).item()
    assert [with_penalty.max().item(), without.max().item()] == pytest.approx([expected] * 2, abs=1e-5 / c)
