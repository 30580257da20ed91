from __future__ import annotations

import pytest
import torch

from trainers.decoding import Decoder

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


@pytest.mark.parametrize("settings", [{"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"min_p": 1.5}])
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"decoder: {next(iter(settings))}"):
        Decoder(**settings)
