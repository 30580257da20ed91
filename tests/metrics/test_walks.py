import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.base import MetricError
from metrics.tabular import ActionIds
from metrics.walks import Erasure, erasure_table, walk

EOS, BKSP = 8, 9
ACTIONS = ActionIds(EOS, BKSP)


@st.composite
def walks(draw):
    """Actions that never erase nothing, ended or not."""
    taken, depth = [], 0
    for action in draw(st.lists(st.sampled_from([0, 1, 2, BKSP, BKSP]), max_size=25)):
        if action != BKSP or depth:
            depth += 1 if action != BKSP else -1
            taken.append(action)
    return taken + [EOS] * draw(st.booleans())


def states(taken):
    """The visible text after every number of actions."""
    texts = [()]
    for action in taken:
        texts.append(texts[-1] if action == EOS else texts[-1][:-1] if action == BKSP else (*texts[-1], action))
    return texts


@given(walks())
def test_equals_the_states_one_by_one(taken):
    found, texts = walk(taken, ACTIONS), states(taken)
    assert found.text == texts[-1]
    written = [step for step, action in enumerate(taken) if action not in (EOS, BKSP)]
    assert [token.text for token in found.tokens] == [texts[step + 1] for step in written]
    for token, step in zip(found.tokens, written, strict=True):
        depth = len(token.text)
        assert token.erased == any(len(later) < depth for later in texts[step + 1 :])
    starts = [s for s, action in enumerate(taken) if action == BKSP and (s == 0 or taken[s - 1] != BKSP)]
    assert [each.step for each in found.erasures] == starts
    for each, start, following in zip(found.erasures, starts, [*starts, len(taken)][1:], strict=bool(starts)):
        end = start
        while end < len(taken) and taken[end] == BKSP:
            end += 1
        assert each.before == texts[start]
        assert each.depth == end - start
        assert each.after == texts[following]
        assert each.undone == (taken[end : end + 1] == [texts[start][len(texts[end])]])


@given(walks())
def test_every_backspace_erases_one_token(taken):
    found = walk(taken, ACTIONS)
    backspaces = taken.count(BKSP)
    assert sum(token.erased for token in found.tokens) == backspaces
    assert sum(each.depth for each in found.erasures) == backspaces
    assert len(found.text) == len(found.tokens) - backspaces
    assert len(taken) == len(found.text) + 2 * backspaces + (EOS in taken)


def test_an_example():
    found = walk([0, 1, 2, BKSP, BKSP, 1, BKSP, 2, EOS], ACTIONS)
    assert found.erasures == [Erasure(3, (0, 1, 2), 1, (0, 1)), Erasure(6, (0, 1), 1, (0, 2))]
    assert [each.undone for each in found.erasures] == [True, False]
    assert [token.erased for token in found.tokens] == [False, True, True, True, False]


def test_an_erasure_at_the_end_is_not_undone():
    assert [each.undone for each in walk([0, BKSP], ACTIONS).erasures] == [False]
    assert [each.undone for each in walk([0, BKSP, EOS], ACTIONS).erasures] == [False]


def test_without_backspace_every_token_stays():
    found = walk([0, BKSP, 1], ActionIds(EOS, None))
    assert found.text == (0, BKSP, 1)
    assert found.erasures == []
    assert walk([], ACTIONS).text == ()


@pytest.mark.parametrize(
    ("taken", "message"),
    [
        ([BKSP], "action 0 erases, but nothing is visible"),
        ([0, BKSP, BKSP], "action 2 erases, but nothing is visible"),
        ([0, EOS, 1], "action 2 follows the end"),
        ([EOS, BKSP], "action 1 follows the end"),
    ],
)
def test_impossible_walks_are_errors(taken, message):
    with pytest.raises(MetricError, match=message):
        walk(taken, ACTIONS)


def decode(ids):
    return "".join("abc"[i] for i in ids)


def test_the_table_shows_text_before_and_after(tmp_path):
    table = pd.DataFrame({"prompt": ["x", "y"], "actions": [[0, EOS], [0, 1, 2, BKSP, BKSP, 1, BKSP, 2, EOS]]})
    table.to_parquet(tmp_path / "generations.parquet")
    for generations in (table, pd.read_parquet(tmp_path / "generations.parquet")):
        assert erasure_table(generations, ACTIONS, decode).to_dict("records") == [
            {"sample": 1, "prompt": "y", "step": 3, "depth": 2, "before": "abc", "erased": "bc", "after": "ab"},
            {"sample": 1, "prompt": "y", "step": 6, "depth": 1, "before": "ab", "erased": "b", "after": "ac"},
        ]


def test_the_table_of_nothing_erased_is_empty():
    found = erasure_table(pd.DataFrame({"prompt": ["x"], "actions": [[0]]}), ACTIONS, decode)
    assert len(found) == 0
    assert list(found) == ["sample", "prompt", "step", "depth", "before", "erased", "after"]
