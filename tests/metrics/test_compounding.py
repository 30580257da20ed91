"""Errors by position and recovery against brute force that knows no tree: walks as a Markov chain over texts."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.base import MetricContext
from metrics.compounding import error_curves
from metrics.endings import final_texts
from metrics.exact import POSITIONS, Exact
from metrics.injection import recovery
from metrics.prefixes import prefixes
from metrics.tabular import TabularLanguage, TabularPolicy
from metrics.tree import text_tree

LANGUAGES = [
    TabularLanguage(("a", "b"), 2, ((), (1,), (0, 1), (1, 1)), np.array([0.1, 0.4, 0.3, 0.2])),
    TabularLanguage(("a", "b"), 3, ((0,), (0, 0, 1)), np.array([0.75, 0.25])),
    TabularLanguage(("a", "b"), 1, ((), (0,), (1,)), np.array([0.5, 0.25, 0.25])),
]


def random_policy(seed, backspace, outside=False):
    """Independent distributions at every text, some actions impossible; ``outside``: a third token, ``c``."""
    size = 3 + outside + backspace

    def table(visible):
        rng = np.random.default_rng([seed, len(visible), *visible])
        row = rng.dirichlet(np.full(size, 0.7)) * (rng.random(size) >= 0.3)
        row[2 + outside] += 0.02
        if backspace and not visible:
            row[-1] = 0
        return row / row.sum()

    return TabularPolicy("abc" if outside else "ab", table, backspace)


def walk(policy, start, depth, max_actions):
    """Distribution of (final text, whether the policy ended it), of walks from a text on."""
    eos, bksp = policy.actions.eos, policy.actions.bksp
    texts = [()]
    for text in texts:
        texts += [(*text, symbol) for symbol in range(eos) if len(text) < depth - 1]
    index = {text: row for row, text in enumerate(texts)}
    move = np.zeros((len(texts), len(texts)))
    outcomes = []
    for text, row in index.items():
        for action, probability in enumerate(policy.table(text)):
            if action == eos:
                outcomes.append((row, (text, True), probability))
            elif action == bksp:
                if text:
                    move[row, index[text[:-1]]] += probability
            elif (*text, action) in index:
                move[row, index[(*text, action)]] += probability
            else:
                outcomes.append((row, ((*text, action), False), probability))
    here = np.eye(len(texts))[index[start]]
    found = {}
    if max_actions is None:
        visits = np.linalg.solve(np.eye(len(texts)) - move.T, here)
    else:
        visits = np.zeros(len(texts))
        for _ in range(max_actions):
            visits, here = visits + here, here @ move
        found = {(text, False): float(here[row]) for text, row in index.items()}
    for row, key, probability in outcomes:
        found[key] = found.get(key, 0.0) + visits[row] * probability
    return found


def free_running(policy, language, depth, max_actions, position):
    """Share of the final texts of at least ``position - 1`` symbols that are wrong by then, read off one by one.

    Texts with token 2, which is outside the alphabet, are among them at any length.
    """
    reached = wrong = 0.0
    for (text, ended), probability in walk(policy, (), depth, max_actions).items():
        if len(text) < position - 1 and 2 not in text:
            continue
        reached += probability
        if len(text) <= position - 1:
            right = ended and text in language.strings
        else:
            right = any(string[:position] == text[:position] for string in language.strings)
        wrong += probability * (not right)
    return wrong / reached if reached > 0 else math.nan


def teacher_forced(policy, language, position):
    weight = error = 0.0
    for string, probability in zip(language.strings, language.probabilities, strict=True):
        if len(string) < position - 1:
            continue
        prefix = string[: position - 1]
        row = policy.table(prefix)[: policy.actions.eos + 1]
        wrong = 0.0
        for action, share in enumerate(row):
            if action == policy.actions.eos:
                wrong += share * (prefix not in language.strings)
            else:
                wrong += share * all(other[:position] != (*prefix, action) for other in language.strings)
        weight += probability
        error += probability * wrong / sum(row)
    return error / weight if weight else math.nan


def curves(policy, language, depth, max_actions=None, decoder=None):
    tree = text_tree(policy, language.alphabet, depth, decoder)
    return error_curves(tree, final_texts(tree, max_actions), language)


POLICIES = st.builds(
    lambda seed, kind: random_policy(seed, *kind),
    st.integers(0, 10**6),
    st.sampled_from([(False, False), (True, False), (False, True)]),
)
BOUNDS = st.sampled_from([None, 1, 2, 3, 5, 30])


@settings(deadline=None)
@given(POLICIES, st.sampled_from(LANGUAGES), st.integers(1, 4), BOUNDS)
def test_curves_equal_brute_force(policy, language, depth, max_actions):
    free, forced = curves(policy, language, depth, max_actions)
    positions = range(1, min(depth, language.max_length + 1) + 1)
    assert len(free) == len(forced) == len(positions)
    expected = [free_running(policy, language, depth, max_actions, t) for t in positions]
    reached = ~np.isnan(free)
    assert free[reached] == pytest.approx(np.array(expected)[reached], abs=1e-9)
    assert forced == pytest.approx([teacher_forced(policy, language, t) for t in positions], abs=1e-12, nan_ok=True)


@settings(deadline=None)
@given(POLICIES, st.sampled_from(LANGUAGES), st.integers(1, 4), BOUNDS)
def test_first_errors_add_up_to_the_invalid_mass(policy, language, depth, max_actions):
    tree = text_tree(policy, language.alphabet, depth)
    final, truth = final_texts(tree, max_actions), prefixes(language, depth)
    still_right = [level @ viable for level, viable in zip(final.begun, truth.viable, strict=True)]
    ended_right = [level @ complete for level, complete in zip(final.ended, truth.complete, strict=True)]
    first_errors = [still_right[t] - still_right[t + 1] - ended_right[t] for t in range(depth)]
    assert min(first_errors) > -1e-12
    assert final.begun[0] == pytest.approx([1], abs=1e-12)
    assert sum(first_errors) + still_right[depth] == pytest.approx(1 - sum(ended_right), abs=1e-12)


@settings(deadline=None)
@given(POLICIES, st.integers(2, 4), BOUNDS)
def test_texts_begin_as_their_beginnings_do(policy, depth, max_actions):
    """A final text goes on, ends, or was cut: what begins with a text is at least what begins with its children."""
    tree = text_tree(policy, "ab", depth)
    final = final_texts(tree, max_actions)
    for level in range(depth):
        children = final.begun[level + 1].reshape(-1, 2).sum(1)
        assert (final.begun[level] >= children + final.ended[level] - 1e-12).all()
    outcomes = walk(policy, (), depth, max_actions)
    for node, text in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        expected = sum(p for (final_text, _), p in outcomes.items() if final_text[:2] == text)
        assert final.begun[2][node] == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(POLICIES, st.sampled_from(LANGUAGES), st.integers(1, 4), st.sampled_from([None, 1, 2, 3, 4, 6, 30]))
def test_recovery_equals_brute_force(policy, language, depth, max_actions):
    weights = chances = 0.0
    for string, probability in zip(language.strings, language.probabilities, strict=True):
        for place in range(min(len(string) + 1, depth - 1)):
            prefix = string[:place]
            wrong = [
                (*prefix, symbol)
                for symbol in range(2)
                if all(other[: place + 1] != (*prefix, symbol) for other in language.strings)
            ]
            if not wrong:
                continue
            weights += probability
            for text in wrong:
                left = None if max_actions is None else max_actions - len(text)
                if left is None or left > 0:
                    outcomes = walk(policy, text, depth, left)
                    chance = sum(outcomes.get((one, True), 0.0) for one in language.strings)
                    chances += probability * chance / len(wrong)
    measured = recovery(text_tree(policy, language.alphabet, depth), language, max_actions)
    assert measured == (pytest.approx(chances / weights, abs=1e-9) if weights else None)


@given(st.integers(0, 10**6), st.sampled_from(LANGUAGES), st.sampled_from([None, 9]))
def test_without_backspace_nothing_is_recovered_and_position_1_has_no_excess(seed, language, max_actions):
    policy = random_policy(seed, backspace=False)
    assert recovery(text_tree(policy, "ab", 4), language, max_actions) == 0
    free, forced = curves(policy, language, 4, max_actions)
    assert free[0] == pytest.approx(forced[0], abs=1e-12)


@pytest.mark.parametrize("error", [0.0, 0.01, 0.3, 1.0])
def test_independent_errors_compound_as_a_power(error):
    """Never right again after an error, which happens with one probability at every right text: 1 - (1 - e)^t."""
    ones = TabularLanguage(("a", "b"), 5, ((0,) * 5,), np.array([1.0]))
    policy = TabularPolicy("ab", lambda visible: (1 - error, error, 0) if len(visible) < 5 else (0, error, 1 - error))
    free, forced = curves(policy, ones, 6)
    assert free == pytest.approx(1 - (1 - error) ** np.arange(1, 7), abs=1e-12)
    assert forced == pytest.approx([error] * 6)


@pytest.mark.parametrize("max_actions", [None, 2000])
def test_errors_that_are_always_erased_do_not_compound(max_actions):
    ones = TabularLanguage(("a", "b"), 4, ((0,) * 4,), np.array([1.0]))

    def table(visible):
        if 1 in visible or len(visible) > 4:
            return (0, 0, 0, 1)
        return (0.7, 0.3, 0, 0) if len(visible) < 4 else (0, 0.3, 0.7, 0)

    policy = TabularPolicy("ab", table, backspace=True)
    free, forced = curves(policy, ones, 6, max_actions)
    assert free == pytest.approx([0] * 5, abs=1e-12)
    assert forced == pytest.approx([0.3] * 5)
    assert recovery(text_tree(policy, "ab", 6), ones, max_actions) == pytest.approx(1)


def test_recovery_that_depends_on_the_budget():
    """One action for b and three that make it right, or two for aa or ab and two that make it right."""
    one = TabularLanguage(("a", "b"), 1, ((0,),), np.array([1.0]))
    policy = TabularPolicy(
        "ab", lambda visible: {(): (1, 0, 0, 0), (0,): (0, 0, 1, 0)}.get(visible, (0, 0, 0, 1)), True
    )
    chances = [recovery(text_tree(policy, "ab", 3), one, bound) for bound in range(1, 6)]
    assert chances == [0, 0, 0, 1, 1]


@settings(deadline=None)
@given(POLICIES, st.sampled_from(LANGUAGES), st.sampled_from([0.3, 1.0, 2.0]), BOUNDS)
def test_a_decoder_is_the_policy_it_makes(policy, language, temperature, max_actions):
    """Warping logits by a decoder is the same as a policy with the warped distributions."""

    def warp(row):
        warped = np.asarray(row) ** (1 / temperature)
        warped[warped < warped.max() / 20] = 0
        return warped / warped.sum()

    warped = TabularPolicy(policy.alphabet, lambda visible: warp(policy.table(visible)), policy.backspace)
    context = MetricContext(policy=policy, language=language, decoder=warp, max_new_tokens=4, max_actions=max_actions)
    direct = MetricContext(policy=warped, language=language, max_new_tokens=4, max_actions=max_actions)
    assert Exact().compute(pd.DataFrame(), context) == Exact().compute(pd.DataFrame(), direct)


def test_a_text_where_only_backspace_is_possible_is_an_error_under_teacher_forcing():
    one = TabularLanguage(("a",), 1, ((0,),), np.array([1.0]))
    policy = TabularPolicy("a", lambda visible: (0, 0, 1) if visible else (1, 0, 0), backspace=True)
    free, forced = curves(policy, one, 2)
    assert forced.tolist() == [0, 1]
    assert free == pytest.approx([1, np.nan], nan_ok=True), "a walk without end is wrong where it began"


@np.errstate(all="raise")
def test_positions_that_no_text_reaches_are_left_out():
    silent = TabularPolicy("ab", lambda visible: (0, 0, 1))
    measured = Exact().compute(pd.DataFrame(), MetricContext(policy=silent, language=LANGUAGES[0]))
    assert {name for name in measured if name.startswith("free")} == {"free_running_error_1"}
    assert {name for name in measured if name.startswith("excess")} == {"excess_error_1"}
    assert {name for name in measured if name.startswith("teacher")} == {f"teacher_forced_error_{t}" for t in (1, 2, 3)}
    assert measured["excess_error_1"] == 0


@np.errstate(all="raise")
def test_positions_that_no_string_reaches_are_left_out():
    short = TabularLanguage(("a", "b"), 3, ((0,), (1,)), np.array([0.5, 0.5]))
    even = TabularPolicy("ab", lambda visible: (0.25, 0.25, 0.5))
    measured = Exact().compute(pd.DataFrame(), MetricContext(policy=even, language=short))
    assert {name for name in measured if name.startswith("teacher")} == {f"teacher_forced_error_{t}" for t in (1, 2)}
    assert {name for name in measured if name.startswith("excess")} == {"excess_error_1", "excess_error_2"}
    assert "free_running_error_3" in measured


def test_a_language_without_wrong_symbols_has_no_recovery():
    policy = random_policy(0, backspace=True)
    assert recovery(text_tree(policy, "ab", 2), LANGUAGES[2]) is None
    assert "recovery" not in Exact().compute(pd.DataFrame(), MetricContext(policy=policy, language=LANGUAGES[2]))


def test_all_positions_of_the_deepest_tree_are_declared():
    deep = TabularLanguage(("a", "b"), 19, ((0,) * 19,), np.array([1.0]))
    assert 2**POSITIONS - 1 <= 2_000_000 < 2 ** (POSITIONS + 1) - 1
    truth = prefixes(deep, 3)
    assert [level.sum() for level in truth.mass] == [1, 1, 1, 1]
    assert [level.any() for level in truth.complete] == [False] * 3


def test_more_positions_than_are_reported():
    long = TabularLanguage(("a",), 30, ((0,) * 30,), np.array([1.0]))
    measured = Exact().compute(
        pd.DataFrame(), MetricContext(policy=TabularPolicy("a", lambda visible: (0.9, 0.1)), language=long)
    )
    assert measured.keys() <= Exact.values.keys()
    assert "excess_error_20" in measured
