import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.base import MetricContext, MetricError
from metrics.tabular import TabularPolicy
from metrics.trajectories import Trajectories
from metrics.walks import walk

AB, EOS, BKSP = "ab", 2, 3
POLICY = TabularPolicy(AB, lambda visible: (0.3, 0.3, 0.2, 0.2) if visible else (0.4, 0.4, 0.2, 0), backspace=True)
COUNTED = {
    "backspace_rate",
    "erased_share",
    "actions_per_token",
    "finished_share",
    "length_mean",
    "wasted_actions",
}
ERASING = {"erase_depth", "oscillation"}
JUDGED = {"erased_wrong_share", "erased_right_share", "erasure_recall", "recovered_share"}


def judge(ids, reference, ended):
    text = "".join(AB[i] for i in ids)
    return text == reference if ended else reference.startswith(text)


def measure(*walks, references=None, context=None):
    """Measures walks, each a string of a, b, < (backspace) and . (end)."""
    taken = [["ab.<".index(character) for character in one] for one in walks]
    texts = [walk(actions, POLICY.actions).text for actions in taken]
    table = pd.DataFrame(
        {
            "completion_ids": [list(text) for text in texts],
            "reference": references or [""] * len(walks),
            "actions": taken,
            "finish": ["eos" if EOS in actions else "length" for actions in taken],
            "n_actions": [len(actions) for actions in taken],
            "n_backspaces": [actions.count(BKSP) for actions in taken],
        }
    )
    return Trajectories().compute(table, context or MetricContext(policy=POLICY, judge=judge))


def test_without_backspace_every_action_counts():
    statistics = measure("aba", "a.", ".")
    assert statistics["actions_per_token"] == 1
    assert statistics["backspace_rate"] == 0
    assert statistics["erased_share"] == 0
    assert statistics["finished_share"] == pytest.approx(2 / 3)
    assert statistics["wasted_actions"] == 0
    assert not ERASING & statistics.keys()


def test_rates_are_pooled_over_actions_not_averaged_over_texts():
    statistics = measure("a<a<a<a<a", "a<")
    assert statistics["backspace_rate"] == pytest.approx(5 / 11)
    assert statistics["actions_per_token"] == 11
    assert statistics["erased_share"] == 1
    assert statistics["wasted_actions"] == 5


def test_a_walk_that_kept_nothing_has_no_price_per_token():
    statistics = measure("a<a<")
    assert "actions_per_token" not in statistics
    assert statistics["length_mean"] == 0


def test_depth_is_a_mean_over_runs():
    assert measure("aaa<<<b", "a<b.")["erase_depth"] == 2
    assert measure("aaa<a<a<")["erase_depth"] == 1


def test_oscillation_is_a_loop_at_one_place():
    assert measure("a<a<a<a<a.")["oscillation"] == 1
    assert measure("a<b<a<b.")["oscillation"] == 0
    assert measure("ab<<ab.")["oscillation"] == 1
    assert measure("a<.", "a<a.")["oscillation"] == 0.5


def test_what_was_erased():
    """Of "ab" a is right first, b second; all else is wrong."""
    statistics = measure("b<a<aa<b.", "bb.", references=["ab", "ab"])
    assert statistics["erased_wrong_share"] == pytest.approx(2 / 3)
    assert statistics["erased_right_share"] == pytest.approx(1 / 3)
    assert statistics["erasure_recall"] == pytest.approx(2 / 4)
    assert statistics["recovered_share"] == pytest.approx(1 / 2)


def test_a_right_token_after_a_wrong_one_is_wrong():
    assert measure("bb<<a.", references=["ab"])["erased_wrong_share"] == 1


def test_recovered_means_right_and_ended():
    assert measure("b<a", references=["a"])["recovered_share"] == 0
    assert measure("b<.", references=["a"])["recovered_share"] == 0
    assert measure("b<a.", references=["a"])["recovered_share"] == 1


def test_shares_of_nothing_are_left_out():
    assert measure("a.", references=["a"]).keys() == COUNTED
    assert measure("a<a.", references=["a"]).keys() == COUNTED | ERASING | {"erased_wrong_share", "erased_right_share"}
    assert measure("b.", references=["a"]).keys() == COUNTED | {"erasure_recall", "recovered_share"}
    assert measure("b.", references=["a"])["erasure_recall"] == 0


def test_what_needs_the_policy_or_the_truth_is_left_out_without_it():
    everything = measure("b<a.", references=["a"])
    assert everything.keys() == COUNTED | ERASING | JUDGED
    untold = measure("b<a.", references=["a"], context=MetricContext(policy=POLICY))
    assert untold.keys() == COUNTED | ERASING
    counted = measure("b<a.", references=["a"], context=MetricContext(judge=judge))
    assert counted.keys() == COUNTED
    assert counted.items() <= everything.items()


WALK = st.text("ab<", max_size=12).filter(lambda one: all(one[:i].count("<") * 2 <= i for i in range(len(one) + 1)))


@given(st.lists(st.tuples(WALK, st.sampled_from(["", "."]), st.text(AB, max_size=4)), min_size=1, max_size=4))
def test_shares_equal_a_count_over_states(cases):
    """Counted by a stack of flags, without looking at whole texts again."""
    right_erased = wrong_erased = wrong = recovered = derailed = 0
    for taken, end, reference in cases:
        stack, erred = [], False
        for action in taken:
            if action == "<":
                right, _ = stack.pop()
                right_erased += right
                wrong_erased += not right
            else:
                at = len(stack)
                right = (not stack or stack[-1][0]) and reference[at : at + 1] == action
                stack.append((right, action))
                wrong += not right
                erred |= not right
        derailed += erred
        recovered += erred and end == "." and "".join(action for _, action in stack) == reference
    walks = [taken + end for taken, end, _ in cases]
    if not any(walks):
        return
    statistics = measure(*walks, references=[reference for _, _, reference in cases])
    expected = {}
    if right_erased + wrong_erased:
        expected["erased_wrong_share"] = wrong_erased / (right_erased + wrong_erased)
        expected["erased_right_share"] = right_erased / (right_erased + wrong_erased)
    if derailed:
        expected["erasure_recall"] = wrong_erased / wrong
        expected["recovered_share"] = recovered / derailed
    assert {name: value for name, value in statistics.items() if name in JUDGED} == pytest.approx(expected)


def test_no_action_is_an_error():
    with pytest.raises(MetricError, match="at least one action"):
        measure("")


def test_an_impossible_walk_is_named_by_its_row():
    table = pd.DataFrame(
        {
            "completion_ids": [[0], []],
            "reference": ["", ""],
            "actions": [[0], [BKSP, 0]],
            "finish": ["length"] * 2,
            "n_actions": [1, 2],
            "n_backspaces": [0, 1],
        }
    )
    with pytest.raises(MetricError, match="row 1 of the generations: action 0 erases"):
        Trajectories().compute(table, MetricContext(policy=POLICY))


@pytest.mark.parametrize(
    ("column", "wrong", "message"),
    [
        ("n_actions", 6, "does not add up: n_actions 6, 7 actions"),
        ("n_actions", math.nan, "does not add up: n_actions nan"),
        ("n_backspaces", -2, "n_backspaces -2"),
        ("n_backspaces", 3, "n_backspaces 3"),
        ("finish", "length", "finish 'length'"),
        ("completion_ids", [0], "1 completion_ids"),
        ("completion_ids", None, "completion_ids and actions must be lists of token ids"),
        ("actions", "aa<<ab.", "completion_ids and actions must be lists of token ids"),
        ("actions", [0, 0, BKSP], "3 actions"),
    ],
)
def test_counts_that_contradict_the_actions_are_named_by_their_row(column, wrong, message):
    right = {
        "completion_ids": [0, 1],
        "reference": "",
        "actions": [0, 0, BKSP, BKSP, 0, 1, EOS],
        "finish": "eos",
        "n_actions": 7,
        "n_backspaces": 2,
    }
    assert Trajectories().compute(pd.DataFrame([right]), MetricContext())["actions_per_token"] == 7 / 3
    with pytest.raises(MetricError, match=f"row 1 of the generations.*{message}"):
        Trajectories().compute(pd.DataFrame([right, {**right, column: wrong}]), MetricContext())
