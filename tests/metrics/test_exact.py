import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from metrics import tree
from metrics.base import MetricContext, MetricError
from metrics.endings import returns
from metrics.exact import Exact, divergences, final_text_distribution
from metrics.tabular import TabularLanguage, TabularPolicy
from metrics.tree import text_tree

AB = TabularLanguage(("a", "b"), 2, ((), (1,), (0, 1), (1, 1)), np.array([0.1, 0.4, 0.3, 0.2]))


def random_policy(seed, alphabet="ab", backspace=True, sparsity=0.0):
    """Independent Dirichlet distributions at every text; some actions impossible with probability ``sparsity``."""
    size = len(alphabet) + 1 + backspace

    def table(visible):
        rng = np.random.default_rng([seed, len(visible), *visible])
        row = rng.dirichlet(np.full(size, 0.7)) * (rng.random(size) >= sparsity)
        row[len(alphabet)] += 0.02
        if backspace and not visible:
            row[-1] = 0
        return row / row.sum()

    return TabularPolicy(alphabet, table, backspace)


def fundamental_matrix(policy, language, depth):
    """Final texts as absorption in a Markov chain over all texts, by a linear solve that knows no recursion."""
    texts = [()]
    for text in texts:
        texts += [(*text, symbol) for symbol in range(len(policy.alphabet)) if len(text) < depth - 1]
    index = {text: row for row, text in enumerate(texts)}
    moves, ends = np.zeros((len(texts), len(texts))), np.zeros(len(texts))
    for text, row in index.items():
        probabilities = np.asarray(policy.table(text))
        ends[row] = probabilities[policy.actions.eos]
        for symbol in range(len(policy.alphabet)):
            if (*text, symbol) in index:
                moves[row, index[(*text, symbol)]] += probabilities[symbol]
        if text and policy.backspace:
            moves[row, index[text[:-1]]] += probabilities[-1]
    visits = np.linalg.solve(np.eye(len(texts)) - moves.T, np.eye(len(texts))[0])
    valid = [visits[index[s]] * ends[index[s]] if s in index else 0.0 for s in language.strings]
    return np.array([*valid, 1 - sum(valid)])


def all_walks(policy, language, depth, max_actions):
    """Final texts by summing over every sequence of actions."""
    result = dict.fromkeys(language.strings, 0.0)

    def walk(text, probability, left):
        if probability == 0 or left == 0 or len(text) == depth:
            return
        row = policy.table(text)
        if text in result:
            result[text] += probability * row[policy.actions.eos]
        for symbol in range(len(policy.alphabet)):
            walk((*text, symbol), probability * row[symbol], left - 1)
        if policy.backspace and text:
            walk(text[:-1], probability * row[-1], left - 1)

    walk((), 1.0, max_actions)
    return np.array([*result.values(), 1 - sum(result.values())])


def simulate(policy, language, depth, count, rng):
    outcomes = np.zeros(len(language.strings) + 1, int)
    position = {string: row for row, string in enumerate(language.strings)}
    for _ in range(count):
        text = ()
        while True:
            row = np.asarray(policy.table(text))
            action = int(rng.choice(len(row), p=row))
            if action == policy.actions.eos:
                outcomes[position.get(text, -1)] += 1
                break
            text = text[:-1] if action == policy.actions.bksp else (*text, action)
            if len(text) == depth:
                outcomes[-1] += 1
                break
    return outcomes


@given(st.integers(0, 10**6), st.booleans(), st.integers(1, 4), st.sampled_from([0.0, 0.4]))
def test_recursion_equals_a_linear_solve_and_a_huge_budget(seed, backspace, depth, sparsity):
    policy = random_policy(seed, "ab", backspace, sparsity)
    exact = final_text_distribution(policy, AB, max_new_tokens=depth)
    assert exact.sum() == pytest.approx(1, abs=1e-12)
    assert exact == pytest.approx(fundamental_matrix(policy, AB, depth), abs=1e-9)
    budgeted = final_text_distribution(policy, AB, max_new_tokens=depth, max_actions=5000)
    assert exact == pytest.approx(budgeted, abs=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.booleans(), st.integers(1, 4), st.integers(1, 7))
def test_bounded_walks_equal_the_sum_over_all_of_them(seed, backspace, depth, max_actions):
    policy = random_policy(seed, "ab", backspace)
    budgeted = final_text_distribution(policy, AB, max_new_tokens=depth, max_actions=max_actions)
    assert budgeted == pytest.approx(all_walks(policy, AB, depth, max_actions), abs=1e-12)


@pytest.mark.parametrize("backspace", [pytest.param(False, marks=pytest.mark.long), True])
def test_simulation_agrees(backspace):
    policy = random_policy(3, "ab", backspace)
    exact = final_text_distribution(policy, AB)
    observed = simulate(policy, AB, 3, 20_000, np.random.default_rng(1))
    assert chisquare(observed, exact * observed.sum()).pvalue > 0.01
    wrong = final_text_distribution(random_policy(4, "ab", backspace), AB)
    assert chisquare(observed, wrong * observed.sum()).pvalue < 1e-6


@given(st.integers(0, 10**6), st.integers(1, 3))
def test_without_backspace_nothing_returns(seed, depth):
    stay, visits = returns(text_tree(random_policy(seed, "abc", backspace=False), "abc", depth))
    for level in (*stay, *visits):
        assert level == pytest.approx(np.ones_like(level), abs=1e-12)


def test_erasing_is_conserved_on_every_branch():
    """``up`` and ``G`` of the formulas, from ``1 - up``."""
    grown = text_tree(random_policy(0, "ab"), "ab", 3)
    stay, visits = returns(grown)
    for level in range(2):
        up = 1 - stay[level + 1].reshape(-1, 2)
        assert visits[level] == pytest.approx(1 / (1 - (grown.append[level] * up).sum(1)))
        assert 1 - stay[level] == pytest.approx(grown.erase[level] * visits[level])


def language_policy(language, noise=0.0):
    """Writes a language exactly; a last symbol outside it is written with probability ``noise``, always erased."""
    strings = dict(zip(language.strings, language.probabilities, strict=True))
    size = len(language.alphabet)

    def table(visible):
        if noise and size in visible:
            return np.eye(size + 3)[-1]
        mass = [sum(p for s, p in strings.items() if s[: len(visible) + 1] == (*visible, a)) for a in range(size)]
        row = np.array([*mass, strings.get(visible, 0.0)])
        row = row / row.sum() if row.sum() else np.eye(size + 1)[-1]
        return np.array([*row[:-1] * (1 - noise), noise, row[-1] * (1 - noise), 0]) if noise else row

    return TabularPolicy("".join(language.alphabet) + "z" * bool(noise), table, bool(noise))


@pytest.mark.parametrize("noise", [0.0, 0.3, 0.999])
def test_a_policy_equal_to_the_language(noise):
    policy = language_policy(AB, noise)
    language = TabularLanguage(tuple(policy.alphabet), AB.max_length, AB.strings, AB.probabilities)
    context = MetricContext(policy=policy, language=language, max_new_tokens=4)
    written = final_text_distribution(policy, language, max_new_tokens=4)
    assert written == pytest.approx([*AB.probabilities, 0], abs=1e-12)
    measured = Exact().compute(pd.DataFrame(), context)
    entropy = -float(AB.probabilities @ np.log(AB.probabilities))
    assert measured.pop("exact_entropy") == pytest.approx(entropy)
    distances = ["kl_forward", "kl_reverse", "total_variation", "jensen_shannon", "chi2_mixture", "invalid_mass"]
    assert [measured[name] for name in distances] == pytest.approx([0] * 6, abs=1e-12)
    assert [measured[f"free_running_error_{t}"] for t in (1, 2, 3)] == pytest.approx([0] * 3, abs=1e-12)
    assert [measured[f"teacher_forced_error_{t}"] for t in (1, 2, 3)] == pytest.approx([noise] * 3, abs=1e-12)
    assert [measured[f"excess_error_{t}"] for t in (1, 2, 3)] == pytest.approx([-noise] * 3, abs=1e-12)


def test_a_mistake_at_the_bound_cannot_be_erased():
    policy = language_policy(AB, 0.3)
    language = TabularLanguage(tuple(policy.alphabet), AB.max_length, AB.strings, AB.probabilities)
    assert final_text_distribution(policy, language)[-1] == pytest.approx(0.3 * 0.5)


def test_the_mark_that_is_always_erased_needs_walks_longer_than_a_small_budget():
    policy = language_policy(AB, 0.3)
    language = TabularLanguage(tuple(policy.alphabet), AB.max_length, AB.strings, AB.probabilities)
    assert final_text_distribution(policy, language, max_new_tokens=4, max_actions=3)[-1] > 0.05


def test_a_text_that_reaches_the_bound_is_cut():
    policy = TabularPolicy("a", lambda visible: (1.0, 0.0) if len(visible) < 2 else (0.0, 1.0))
    language = TabularLanguage(("a",), 2, ((0, 0),), np.array([1.0]))
    assert final_text_distribution(policy, language).tolist() == [1, 0]
    assert final_text_distribution(policy, language, max_new_tokens=2).tolist() == [0, 1]
    assert final_text_distribution(policy, language, max_actions=3).tolist() == [1, 0]
    assert final_text_distribution(policy, language, max_actions=2).tolist() == [0, 1]


@np.errstate(all="raise")
def test_a_walk_without_end_is_invalid_not_nan():
    forever = TabularPolicy("ab", lambda visible: (0, 0, 0, 1) if visible else (0.75, 0, 0.25, 0), backspace=True)
    assert final_text_distribution(forever, AB) == pytest.approx([1, 0, 0, 0, 0])

    def table(visible):
        """Below "a" the walk goes up and down for ever; at "b" it ends or is erased."""
        return {(): (0.5, 0.5, 0, 0), (0,): (1, 0, 0, 0), (1,): (0, 0, 0.1, 0.9)}.get(visible, (0, 0, 0, 1))

    trapped = TabularPolicy("ab", table, backspace=True)
    ends = 0.5 * 0.1 / (1 - 0.5 * 0.9)
    assert final_text_distribution(trapped, AB) == pytest.approx([0, ends, 0, 0, 1 - ends], abs=1e-12)


def test_rare_endings_keep_their_digits():
    """A policy that erases almost everything: the direct formula loses all digits of 1 - up."""
    tiny = 1e-14
    policy = TabularPolicy(
        "ab", lambda visible: (0, 0, tiny, 1 - tiny) if visible else (0.5, 0.5 - 3 * tiny, 3 * tiny, 0), backspace=True
    )
    language = TabularLanguage(("a", "b"), 1, ((), (0,), (1,)), np.array([0.5, 0.25, 0.25]))
    assert final_text_distribution(policy, language) == pytest.approx([3 / 4, 1 / 8, 1 / 8, 0], rel=1e-6, abs=1e-9)


def test_rows_that_are_nearly_normalised_are_normalised():
    policy = TabularPolicy("ab", lambda visible: (0.5, 0.2, 0.3 + 5e-7))
    budgeted = final_text_distribution(policy, AB, max_actions=10)
    assert final_text_distribution(policy, AB) == pytest.approx(budgeted, abs=1e-12)


def test_tokens_outside_the_alphabet():
    def table(visible):
        return (0.2, 0.1, 0.3, 0.4)

    exact = final_text_distribution(TabularPolicy("abz", table), AB)
    assert exact == pytest.approx([0.4, 0.04, 0.008, 0.004, 0.548])
    eraser = TabularPolicy("abz", lambda visible: (*table(visible), 0), backspace=True)
    with pytest.raises(MetricError, match=r"outside the alphabet with probability up to 0\.3"):
        final_text_distribution(eraser, AB)


def test_the_decoder_is_passed_through():
    def greedy(row):
        return np.eye(len(row))[np.argmax(row)]

    policy = TabularPolicy("ab", lambda visible: (0.2, 0.5, 0.3) if not visible else (0.2, 0.1, 0.7))
    assert final_text_distribution(policy, AB, decoder=greedy).tolist() == [0, 1, 0, 0, 0]
    measured = Exact().compute(pd.DataFrame(), MetricContext(policy=policy, language=AB, decoder=greedy))
    assert "kl_forward" not in measured
    assert measured["kl_reverse"] == pytest.approx(-math.log(0.4))
    assert all(map(math.isfinite, measured.values()))


@np.errstate(all="raise")
def test_nothing_valid_leaves_out_what_is_undefined():
    measured = divergences(np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.0, 1.0]))
    assert set(measured) == {"total_variation", "jensen_shannon", "chi2_mixture", "invalid_mass"}
    expected = {"total_variation": 1, "jensen_shannon": math.log(2), "chi2_mixture": 1, "invalid_mass": 1}
    assert measured == pytest.approx(expected)


def test_exact_uses_the_bounds_of_the_generations():
    policy = random_policy(5)
    bounded = MetricContext(policy=policy, language=AB, max_new_tokens=2, max_actions=4)
    free = MetricContext(policy=policy, language=AB)
    lost = [Exact().compute(pd.DataFrame(), context)["invalid_mass"] for context in (bounded, free)]
    assert lost[0] == pytest.approx(all_walks(policy, AB, 2, 4)[-1])
    assert lost[0] > lost[1] + 0.01


class TwoTokens(TabularPolicy):
    def encode(self, text):
        return [0, 1] if text == "b" else [0]


class SameToken(TabularPolicy):
    def encode(self, text):
        return [0]


class WrongShape(TabularPolicy):
    def path_probabilities(self, prompt, paths, decoder=None):
        return super().path_probabilities(prompt, paths, decoder)[:, :-1]


@pytest.mark.parametrize(
    ("policy", "bounds", "message"),
    [
        (TwoTokens("ab", lambda visible: (0.5, 0.2, 0.3)), {}, "'b' of the language is not one token"),
        (SameToken("ab", lambda visible: (0.5, 0.2, 0.3)), {}, "tokens of their own"),
        (WrongShape("ab", lambda visible: (0.5, 0.2, 0.3)), {}, "shape"),
        (TabularPolicy("ab", lambda visible: (0.5, 0.2, 0.2)), {}, "not distributions"),
        (TabularPolicy("ab", lambda visible: (0.5, -0.2, 0.7)), {}, "not distributions"),
        (TabularPolicy("ab", lambda visible: (0.5, np.nan, 0.5)), {}, "not distributions"),
        (TabularPolicy("ab", lambda visible: (0.5, 0.2, 0.2, 0.1), True), {}, "erases the prompt"),
        (TabularPolicy("ab", lambda visible: (0.5, 0.2, 0.3)), {"max_new_tokens": 0}, "depth of at least one"),
        (TabularPolicy("ab", lambda visible: (0.5, 0.2, 0.3)), {"max_actions": 0}, "max_actions"),
        (TabularPolicy("ab", lambda visible: (0.5, 0.2, 0.3)), {"max_new_tokens": 21}, "2097151 nodes"),
    ],
)
def test_bad_input(policy, bounds, message):
    with pytest.raises(MetricError, match=message):
        final_text_distribution(policy, AB, **bounds)


def test_chunks_do_not_change_the_tree(monkeypatch):
    policy = random_policy(6, "abc")
    whole = text_tree(policy, "abc", 4)
    monkeypatch.setattr(tree, "CHUNK_ELEMENTS", 7 * 4 * 5)
    parts = text_tree(policy, "abc", 4)
    for name in ("append", "end", "erase", "other"):
        for one, other in zip(getattr(whole, name), getattr(parts, name), strict=True):
            assert np.array_equal(one, other)
