"""Strong duality: the method itself, on a process small enough to be solved both ways.

On texts of at most two letters, maximising the objective over free logits must give the value, and the
policy, of ``min_policy [D(data, policy) - alpha H(policy)] / alpha``, found without any Q-value in sight. The
left side runs through the production code on a data set of trajectories; the right side has its own occupancies
and the divergences in closed form.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from trainers.actions import ActionSpace
from trainers.backspace import visible
from trainers.batches import Trajectory, collate
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
        self.walks = [self._walk(rng) for _ in range(60)]
        self.sequences = collate([Trajectory((START,), walk, True, (True,) * len(walk)) for walk in self.walks], BKSP)
        self.data = torch.stack([self._visits(walk) for walk in self.walks]).mean(0)
        self.rows = torch.stack([self._rows(walk) for walk in self.walks])
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

    def _rows(self, walk: tuple[int, ...]) -> Tensor:
        """For every slot of a trajectory its row in a table with the layout of ``_visits``; 0 in the padding."""
        rows = torch.zeros(self.sequences.labels.shape[1], dtype=torch.long)
        for step in range(len(walk)):
            rows[step] = ROWS[tuple(visible(walk[:step], BKSP))]
        rows[len(walk)] = len(TEXTS) + ROWS[tuple(visible(walk[:-1], BKSP))]
        return rows


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


def dual(process: Process, divergence: Divergence, c: float) -> tuple[float, Tensor]:
    """Maximise the objective over free logits, through the production code."""
    rows = len(TEXTS)
    impossible = torch.cat([~process.possible, torch.zeros(rows, SIZE, dtype=torch.bool)])

    def objective(flat: Tensor, model: Tensor | None) -> Tensor:
        table = flat.view(2 * rows, SIZE).masked_fill(impossible, -torch.inf)
        where = slots_that_count(process.sequences)
        scores = scores_of(table[process.rows][where], process.sequences, where, SPACE)
        scale = divergence.scale(ALPHA, c)
        found = terms(scores, process.sequences, gamma=GAMMA, scale=scale, divergence=divergence)
        total = (found.match - found.value) * (1 - GAMMA) / len(process.walks)
        if model is not None:
            penalty = found.penalty * (1 - GAMMA) / len(process.walks)
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
        flat = optimum(lambda point, model=model: -objective(point, model), len(flat), flat)
    return float(objective(torch.from_numpy(flat), model)), policy(flat)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "backspace"])
def process(request: pytest.FixtureRequest) -> Process:
    return Process(request.param)


@pytest.mark.parametrize("name", [name for name, each in DIVERGENCES.items() if not each.penalised])
def test_both_ways_give_the_same_value_and_policy(process: Process, name: str) -> None:
    value, policy = primal(process, name, c=1.0)
    other, same = dual(process, DIVERGENCES[name], c=1.0)
    assert other == pytest.approx(value, abs=1e-6)
    torch.testing.assert_close(same, policy, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("kappa", "tolerance"), [(0.0005, 1e-4), (0.005, 1e-3), (0.05, 2e-2)])
def test_the_penalty_form_is_close_where_its_curvature_is_small(
    process: Process, kappa: float, tolerance: float
) -> None:
    _, policy = primal(process, "chi2_mixture", kappa / ALPHA)
    _, close = dual(process, DIVERGENCES["chi2_mixture"], kappa / ALPHA)
    torch.testing.assert_close(close, policy, atol=tolerance, rtol=0)
