"""Standard errors against how far the numbers really move: every metric over hundreds of samples of one policy."""

import copy
import math
import pickle

import numpy as np
import pandas as pd
import pytest

from metrics.accuracy import Accuracy
from metrics.base import Estimate, MetricContext
from metrics.diversity import Diversity
from metrics.exact import Exact
from metrics.injected_errors import InjectedErrors
from metrics.perplexity import Perplexity, pooled_perplexity
from metrics.sample_error import by_sample, mean, ratio
from metrics.tabular import TabularLanguage, TabularPolicy
from metrics.trajectories import Trajectories
from metrics.walks import walk

AB, EOS, BKSP = "ab", 2, 3
REPEATS = 250


def distribution(visible):
    return (0.3, 0.3, 0.15, 0.25) if visible else (0.45, 0.45, 0.1, 0)


POLICY = TabularPolicy(AB, distribution, backspace=True)


def judge(ids, reference, ended):
    text = "".join(AB[i] for i in ids)
    return text == reference if ended else reference.startswith(text)


def sampled(rng, n):
    """Walks of the policy: the action distribution depends only on whether anything is visible."""
    rows = []
    for _ in range(n):
        actions, visible = [], []
        while len(actions) < 12 and EOS not in actions:
            action = int(np.searchsorted(np.cumsum(distribution(visible)[:3]), rng.random(), side="right"))
            actions.append(action)
            if action == BKSP:
                visible.pop()
            elif action != EOS:
                visible.append(action)
        one = walk(actions, POLICY.actions)
        rows.append(
            {
                "completion": "".join(AB[i] for i in one.text),
                "completion_ids": list(one.text),
                "reference": ["", "a", "ab"][rng.integers(3)],
                "actions": actions,
                "finish": "eos" if actions[-1] == EOS else "actions",
                "n_actions": len(actions),
                "n_backspaces": actions.count(BKSP),
            }
        )
    return pd.DataFrame(rows)


def agree(found, tolerance):
    """The mean standard error is the standard deviation of the values, for each number."""
    assert found
    for name in found[0]:
        values = np.array([one[name] for one in found])
        errors = np.array([one[name].standard_error for one in found])
        assert errors.mean() == pytest.approx(values.std(ddof=1), rel=tolerance), name


def test_accuracy_and_everything_on_trajectories():
    rng = np.random.default_rng(0)
    tables = [sampled(rng, 100) for _ in range(REPEATS)]
    context = MetricContext(policy=POLICY, judge=lambda ids, reference, ended: list(ids[:1]) != [1])
    found = [{**Accuracy().compute(table, context), **Trajectories().compute(table, context)} for table in tables]
    assert len(found[0]) == 13
    agree(found, 0.13)


def test_repetition():
    rng, names = np.random.default_rng(0), ("rep_2", "rep_3", "rep_4", "seq_rep_4", "diversity")
    corpora = [[rng.integers(2, size=1 + rng.poisson(8)).tolist() for _ in range(40)] for _ in range(REPEATS)]
    found = [Diversity().compute(pd.DataFrame({"completion_ids": texts}), MetricContext()) for texts in corpora]
    agree([{name: one[name] for name in names} for one in found], 0.13)
    assert all(type(value) is float for name, value in found[0].items() if name not in names)


def test_perplexity():
    rng = np.random.default_rng(0)
    chain = TabularPolicy("ab", lambda visible: (0.9, 0.05, 0.05) if len(visible) % 2 else (0.3, 0.5, 0.2))
    found = []
    for _ in range(REPEATS):
        texts = ["".join(rng.choice(list("ab"), 1 + rng.poisson(4))) for _ in range(50)]
        context = MetricContext(policy=chain, prompts=[""] * 50, completions=texts, finished=[True] * 50)
        found.append(Perplexity().compute(pd.DataFrame(), context))
    agree(found, 0.13)


def test_injected_errors():
    rng = np.random.default_rng(0)
    policy = TabularPolicy(
        AB, lambda text: (0.1, 0.1, 0.1, 0.7) if 1 in text[-2:] else (0.4, 0.3, 0.2, 0.1), backspace=True
    )
    found = []
    for _ in range(REPEATS):
        texts = ["".join(rng.choice(list("ab"), 1 + rng.poisson(2))) for _ in range(20)]
        context = MetricContext(
            policy=policy, judge=judge, error_tokens=("a", "b"), prompts=[""] * 20, completions=texts
        )
        found.append(InjectedErrors().compute(pd.DataFrame(), context))
    agree(found, 0.13)


def test_a_share_has_the_binomial_error():
    found = mean([True] * 30 + [False] * 70)
    assert found == 0.3
    assert found.standard_error == pytest.approx(math.sqrt(0.3 * 0.7 / 99))
    assert ratio([1, 1, 0], [1, 1, 1]) == mean([1, 1, 0])


def test_a_mean_over_entries_has_texts_as_its_samples():
    doubled = by_sample([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0], []])
    single = by_sample([[1.0], [0.0], [1.0], []])
    assert doubled == single == 2 / 3
    assert doubled.standard_error == pytest.approx(single.standard_error)
    assert by_sample([[], []]) is None


@pytest.mark.parametrize("values", [[0.0] * 200, [1.0] * 200, [0.1] * 7, [3.0]])
def test_samples_that_agree_do_not_make_a_number_exact(values):
    found = mean(values)
    assert found == pytest.approx(values[0])
    assert math.isnan(found.standard_error)


def test_equal_perplexities_per_token_are_not_exact():
    assert math.isnan(pooled_perplexity(np.array([-0.3, -0.1]), np.array([3, 1])).standard_error)


def test_exact_numbers_are_exact():
    language = TabularLanguage(("a", "b"), 2, ((0, 0),), np.array([1.0]))
    policy = TabularPolicy("ab", lambda visible: (0.75, 0.25, 0) if len(visible) < 2 else (0, 0, 1))
    found = Exact().compute(pd.DataFrame(), MetricContext(policy=policy, language=language))
    assert {value.standard_error for value in found.values()} == {0}


def test_an_estimate_is_its_number_and_travels():
    estimate = Estimate(0.5, 0.25)
    assert (estimate, estimate + 1, f"{estimate:.2f}") == (0.5, 1.5, "0.50")
    assert repr(estimate) == "Estimate(0.5, 0.25)"
    for twin in (pickle.loads(pickle.dumps(estimate)), copy.deepcopy(estimate)):
        assert (twin, twin.standard_error) == (0.5, 0.25)
    with pytest.raises(AttributeError):
        estimate.note = "no room"
