from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainers.divergences import DIVERGENCES

C = 1.0


def mixture(d: float, m: float) -> float:
    mean = (d + m) / 2
    return (d - mean) ** 2 / mean / C


def jensen_shannon(d: float, m: float) -> float:
    mean = (d + m) / 2
    return d * math.log(d / mean) + m * math.log(m / mean)


def mixed_reward(d: float, m: float) -> float:
    reward = (d - m) / (C * (d + m))
    return reward + C / 2 * reward**2


# The share of one state and action, with occupancies d (data) and m (model), in the divergence,
# and the reward that attains it. What d - m adds to a share is 0 in the sum over all.
CLOSED_FORMS: dict[str, tuple[Callable[[float, float], float], Callable[[float, float], float]]] = {
    "forward_kl": (lambda d, m: d * math.log(d / m) - d + m, lambda d, m: d / m - 1),
    "reverse_kl": (lambda d, m: m * math.log(m / d) - m + d, lambda d, m: math.log(d / m)),
    "hellinger": (lambda d, m: (math.sqrt(d) - math.sqrt(m)) ** 2, lambda d, m: math.sqrt(d / m) - 1),
    "jensen_shannon": (jensen_shannon, lambda d, m: -math.log(2 * m / (m + d))),
    "chi2": (lambda d, m: (d - m) ** 2 / d, lambda d, m: 2 * (1 - m / d)),
    "chi2_mixture": (mixture, lambda d, m: (d - m) / (C * (d + m))),
    "chi2_mixture_exact": (mixture, mixed_reward),
}
NAMES = list(CLOSED_FORMS)


def attained(name: str, d: float, m: float, reward: torch.Tensor) -> torch.Tensor:
    divergence = DIVERGENCES[name]
    value = d * divergence.phi(reward) - m * reward
    return value - C / 2 * (d + m) * reward.square() if divergence.penalised else value


def test_every_divergence_has_a_closed_form_here() -> None:
    assert set(NAMES) == set(DIVERGENCES)


@pytest.mark.parametrize("name", NAMES)
@given(d=st.floats(0.05, 0.95), m=st.floats(0.05, 0.95))
def test_the_best_reward_attains_the_divergence(name: str, d: float, m: float) -> None:
    divergence, best = CLOSED_FORMS[name]
    reward = torch.tensor(best(d, m), dtype=torch.float64, requires_grad=True)
    value = attained(name, d, m, reward)
    (slope,) = torch.autograd.grad(value, reward)
    assert abs(slope.item()) < 1e-9
    assert value.item() == pytest.approx(divergence(d, m), abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
@given(x=st.floats(-1e6, 1e6))
def test_no_reward_makes_phi_or_its_slope_infinite(name: str, x: float) -> None:
    reward = torch.tensor([x], dtype=torch.float32, requires_grad=True)
    value = DIVERGENCES[name].phi(reward)
    (slope,) = torch.autograd.grad(value.sum(), reward)
    assert value.isfinite()
    assert slope.isfinite()


@pytest.mark.parametrize("name", NAMES)
@given(low=st.floats(-20, 20), high=st.floats(-20, 20))
def test_phi_is_concave_across_the_edge_of_its_domain(name: str, low: float, high: float) -> None:
    ends = torch.tensor([low, high, (low + high) / 2], dtype=torch.float64)
    first, last, middle = DIVERGENCES[name].phi(ends)
    assert middle >= (first + last) / 2 - 1e-9 * (1 + abs(first) + abs(last))


@pytest.mark.parametrize("name", [name for name in NAMES if DIVERGENCES[name].edge > -math.inf])
def test_value_and_slope_are_continuous_at_the_edge(name: str) -> None:
    divergence = DIVERGENCES[name]
    around = torch.tensor([divergence.edge - 1e-9, divergence.edge + 1e-9], dtype=torch.float64, requires_grad=True)
    values = divergence.phi(around)
    slopes = torch.autograd.grad(values.sum(), around)[0]
    torch.testing.assert_close(values[0], values[1], atol=1e-4, rtol=0)
    torch.testing.assert_close(slopes[0], slopes[1], atol=0, rtol=1e-5)
    inside = torch.linspace(divergence.edge, 3, 50, dtype=torch.float64)
    torch.testing.assert_close(divergence.phi(inside), divergence.formula(inside))


@pytest.mark.parametrize("name", NAMES)
def test_agreement_asks_for_a_reward_of_0(name: str) -> None:
    reward = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    value = DIVERGENCES[name].phi(reward)
    assert value.item() == 0
    assert torch.autograd.grad(value.sum(), reward)[0].item() == 1
