import math

import numpy as np
import pandas as pd
import pytest

from metrics.base import MetricContext, MetricError
from metrics.perplexity import Perplexity
from metrics.tabular import TabularPolicy

NONE = pd.DataFrame()


def measure(policy, completions, finished, prompts=None):
    prompts = [""] * len(completions) if prompts is None else prompts
    context = MetricContext(policy=policy, prompts=prompts, completions=completions, finished=finished)
    return Perplexity().compute(NONE, context)["perplexity"]


def test_tokens_are_pooled_over_texts_and_the_end_counts_where_finished():
    policy = TabularPolicy("ab", lambda visible: (0.5, 0.25, 0.25))
    nats = 3 * math.log(2) + math.log(4) + math.log(4)
    assert measure(policy, ["aaa", "b"], [False, True]) == pytest.approx(math.exp(nats / 5), rel=1e-12)


def test_backspace_is_masked_out():
    plain = TabularPolicy("ab", lambda visible: (0.5, 0.3, 0.2))
    eraser = TabularPolicy("ab", lambda visible: (0.2, 0.12, 0.08, 0.6), backspace=True)
    assert measure(plain, ["abba"], [True]) == pytest.approx(measure(eraser, ["abba"], [True]), rel=1e-12)


def test_the_prompt_conditions_and_is_not_scored():
    policy = TabularPolicy("ab", lambda visible: (0.9, 0.1, 0) if visible == (1,) else (0.2, 0.8, 0))
    assert measure(policy, ["a"], [False], prompts=["b"]) == pytest.approx(1 / 0.9, rel=1e-12)


def test_impossible_completion_is_an_error_and_names_its_prompt():
    policy = TabularPolicy("ab", lambda visible: (1.0, 0.0, 0.0))
    with np.errstate(divide="ignore"), pytest.raises(MetricError, match=r"1 of 2 .* prompt 'aa'"):
        measure(policy, ["a", "b"], [False, False], prompts=["a", "aa"])


def test_overflow_is_an_error():
    policy = TabularPolicy("ab", lambda visible: (1.0, 1e-320, 0.0))
    with pytest.raises(MetricError, match="too large"):
        measure(policy, ["b"], [False])


@pytest.mark.parametrize(
    ("completions", "finished", "message"),
    [([], [], "held-out examples"), (["a", "a"], [True], "held-out examples"), (["", ""], [False] * 2, "all held-out")],
)
def test_nothing_to_score(completions, finished, message):
    with pytest.raises(MetricError, match=message):
        measure(TabularPolicy("a", lambda visible: (0.5, 0.5)), completions, finished)


def test_needs_a_policy():
    with pytest.raises(MetricError, match="policy"):
        Perplexity().compute(NONE, MetricContext(prompts=[""], completions=["a"], finished=[True]))
