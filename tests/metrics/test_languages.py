import numpy as np
import pandas as pd
import pytest

from metrics.base import MetricContext, MetricError
from metrics.exact import Exact, final_text_distribution
from metrics.tabular import TabularLanguage, TabularPolicy

POLICY = TabularPolicy("ab", lambda visible: (0.25, 0.25, 0.5))


def language(strings, probabilities, max_length=2):
    return TabularLanguage(("a", "b"), max_length, strings, np.array(probabilities))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (language(((0,), (1,)), [1.0]), r"2 strings and probabilities of shape \(1,\)"),
        (language(((0,), (1,)), [[0.5, 0.5]]), r"shape \(1, 2\)"),
        (language(((0,), (1,)), [0.5, 0.4]), "no distribution: smallest 0.4, sum 0.9"),
        (language(((0,), (1,)), [1.5, -0.5]), "no distribution: smallest -0.5"),
        (language(((0,), (1,)), [np.nan, 1.0]), "no distribution"),
        (language(((0,), (0,)), [0.5, 0.5]), "lists a string twice"),
        (language(((0,), (2,)), [0.5, 0.5]), r"the string \(2,\) .* symbols outside 0 to 1"),
        (language(((0,), (0, -1)), [0.5, 0.5]), r"the string \(0, -1\)"),
        (language(((0,), (0, 1, 1)), [0.5, 0.5]), r"the string \(0, 1, 1\) of the language is longer than 2"),
        (language((), []), "no distribution: smallest 1.0, sum 0.0"),
    ],
)
def test_what_is_no_language_is_an_error(wrong, message):
    with pytest.raises(MetricError, match=message):
        final_text_distribution(POLICY, wrong)
    with pytest.raises(MetricError, match=message):
        Exact().compute(pd.DataFrame(), MetricContext(policy=POLICY, language=wrong))


def test_a_language_whose_strings_have_probability_zero_is_one():
    assert final_text_distribution(POLICY, language(((0,), ()), [1.0, 0.0]))[1] == 0.5
