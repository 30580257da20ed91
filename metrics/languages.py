"""Whether a finite language is one: a distribution over different strings of its alphabet."""

from __future__ import annotations

import numpy as np

from metrics.base import FiniteLanguage, MetricError


def check_language(language: FiniteLanguage) -> None:
    """Raise MetricError unless the probabilities are a distribution over different strings within the bounds."""
    strings, width = language.strings, len(language.alphabet)
    probabilities = np.asarray(language.probabilities, np.float64)
    if probabilities.shape != (len(strings),):
        raise MetricError(f"the language has {len(strings)} strings and probabilities of shape {probabilities.shape}")
    if not (probabilities >= 0).all() or abs(probabilities.sum() - 1) > 1e-6:
        raise MetricError(
            f"the probabilities of the language are no distribution: smallest {probabilities.min(initial=1)}, "
            f"sum {probabilities.sum()}"
        )
    if len(set(strings)) < len(strings):
        raise MetricError("the language lists a string twice: add up its probabilities")
    for string in strings:
        if len(string) > language.max_length or not all(0 <= symbol < width for symbol in string):
            raise MetricError(
                f"the string {string} of the language is longer than {language.max_length} or has symbols outside "
                f"0 to {width - 1}"
            )
