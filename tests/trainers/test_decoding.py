from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from trainers.decoding import Decoder
from trainers.policy import Policy

PROBABILITIES = torch.tensor([[0.5, 0.3, 0.15, 0.05, 0.0]], dtype=torch.float64)
LOGITS = PROBABILITIES.log()


def test_the_default_is_the_softmax() -> None:
    torch.testing.assert_close(Decoder().probabilities(LOGITS), PROBABILITIES)


@pytest.mark.parametrize(
    ("decoder", "kept"),
    [
        (Decoder(top_k=2), [0, 1]),
        (Decoder(top_k=50), [0, 1, 2, 3]),
        (Decoder(top_p=0.81), [0, 1, 2]),
        (Decoder(min_p=0.4), [0, 1]),
        (Decoder(temperature=0), [0]),
    ],
)
def test_truncation_keeps_and_renormalises(decoder: Decoder, kept: list[int]) -> None:
    expected = torch.zeros_like(PROBABILITIES)
    expected[0, kept] = PROBABILITIES[0, kept]
    torch.testing.assert_close(decoder.probabilities(LOGITS), expected / expected.sum())


def test_temperature_flattens() -> None:
    squared = PROBABILITIES.square()
    torch.testing.assert_close(Decoder(temperature=0.5).probabilities(LOGITS), squared / squared.sum())


@pytest.mark.parametrize("factor", [0.25, 1.0, 30.0])
@pytest.mark.parametrize("other", [{}, {"temperature": 0.5}, {"min_p": 0.01}])
def test_backspace_bias_multiplies_the_odds_of_erasing(factor: float, other: dict[str, float]) -> None:
    bksp = 2
    before, after = (Decoder(backspace_bias=bias, **other).probabilities(LOGITS, bksp)[0] for bias in (1.0, factor))
    power = 1 / other.get("temperature", 1.0)
    assert after[bksp] / (1 - after[bksp]) == pytest.approx(factor**power * before[bksp] / (1 - before[bksp]))
    rest = [0, 1, 3]
    torch.testing.assert_close(after[rest] / after[rest].sum(), before[rest] / before[rest].sum())


def test_the_bias_acts_before_truncation_and_only_on_backspace() -> None:
    probabilities = Decoder(backspace_bias=20.0, top_k=1).probabilities(LOGITS, 3)
    assert probabilities[0].tolist() == [0, 0, 0, 1, 0]
    torch.testing.assert_close(Decoder(backspace_bias=20.0).probabilities(LOGITS, None), PROBABILITIES)
    impossible = Decoder(backspace_bias=20.0).probabilities(LOGITS, 4)
    torch.testing.assert_close(impossible, PROBABILITIES)
    torch.testing.assert_close(LOGITS.softmax(-1), PROBABILITIES)


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": -1.0},
        {"top_k": -1},
        {"top_p": 0.0},
        {"min_p": 1.5},
        {"backspace_bias": 0.0},
        {"backspace_bias": float("inf")},
        {"penalty_alpha": 1.5},
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"decoder: {next(iter(settings))}"):
        Decoder(**settings)


def test_the_bias_reaches_the_probabilities_along_paths(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy()
    paths = np.array([policy.encode("ab"), policy.encode("ce")])
    before, after = (policy.path_probabilities("", paths, Decoder(backspace_bias=bias)) for bias in (1.0, 5.0))
    before, after = before[..., policy.actions.bksp], after[..., policy.actions.bksp]
    assert after[:, 1:] / (1 - after[:, 1:]) == pytest.approx(5 * before[:, 1:] / (1 - before[:, 1:]))
    assert (after[:, 0] == 0).all()
