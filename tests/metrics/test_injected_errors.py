import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.base import MetricContext, MetricError
from metrics.injected_errors import InjectedErrors
from metrics.tabular import TabularPolicy


def random_policy(seed, backspace=True):
    def table(visible):
        row = np.random.default_rng([seed, len(visible), *visible]).dirichlet(np.ones(3 + backspace))
        if backspace and not visible:
            row[-1] = 0
        return row / row.sum()

    return TabularPolicy("ab", table, backspace)


def judge(ids, reference, ended):
    text = "".join("ab"[i] for i in ids)
    return text == reference if ended else reference.startswith(text)


def measure(policy, prompts, completions, **changes):
    defaults = {"policy": policy, "judge": judge, "error_tokens": ("a", "b")}
    context = MetricContext(**{**defaults, "prompts": prompts, "completions": completions, **changes})
    return InjectedErrors().compute(pd.DataFrame(), context)


@settings(deadline=None)
@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.text("ab", max_size=2), st.text("ab", max_size=4)), min_size=1, max_size=3),
    st.sampled_from([1.0, 0.5]),
)
def test_equals_the_policy_asked_one_text_at_a_time(seed, examples, power):
    policy = random_policy(seed)

    def warp(row):
        return np.asarray(row) ** power / (np.asarray(row) ** power).sum()

    def erase(text):
        return warp(policy.table(tuple(map("ab".index, text))))[policy.actions.bksp]

    after_error, after_right = [], []
    for prompt, completion in examples:
        after_right += [erase(prompt + completion[:length]) for length in range(1, len(completion) + 1)]
        for place in range(len(completion) + 1):
            wrong = [error for error in "ab" if not completion.startswith(completion[:place] + error)]
            after_error.append(np.mean([erase(prompt + completion[:place] + error) for error in wrong]))
    expected = {"erase_after_error": np.mean(after_error)}
    if after_right:
        expected["erase_after_right"] = np.mean(after_right)
    measured = measure(policy, *zip(*examples, strict=True), decoder=warp)
    assert measured == pytest.approx(expected, abs=1e-12)


def test_without_backspace_nothing_is_erased():
    policy = random_policy(0, backspace=False)
    assert measure(policy, [""], ["ab"]) == {"erase_after_error": 0, "erase_after_right": 0}


def test_an_empty_completion_has_no_right_token():
    policy = TabularPolicy("ab", lambda visible: (0.2, 0.2, 0.2, 0.4) if visible else (0.5, 0.5, 0, 0), backspace=True)
    assert measure(policy, [""], [""]) == pytest.approx({"erase_after_error": 0.4})


def test_where_no_error_is_possible_there_is_no_number():
    policy = random_policy(1)
    found = measure(policy, [""], ["ab"], judge=lambda *_: True)
    assert found.keys() == {"erase_after_right"}


@pytest.mark.parametrize(("prompts", "completions"), [([], []), ([""], []), ([""], ["a", "b"])])
def test_no_held_out_examples(prompts, completions):
    with pytest.raises(MetricError, match=f"got {len(prompts)} prompts and {len(completions)} completions"):
        measure(random_policy(0), prompts, completions)


def test_errors_that_are_not_one_token_or_not_there():
    with pytest.raises(MetricError, match="names plausible errors"):
        measure(random_policy(0), [""], ["ab"], error_tokens=())
    with pytest.raises(MetricError, match="the error 'ab' is 2 tokens"):
        measure(random_policy(0), [""], ["ab"], error_tokens=("a", "ab"))
