from __future__ import annotations

from itertools import chain, pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, entropy

from tasks.automaton import Automaton, Edge
from tasks.base import TaskError
from tasks.language import Language, LanguageTask
from trainers.tokenizer import train_bpe

AUTOMATA = st.tuples(st.integers(1, 3), st.integers(2, 4), st.integers(1, 3), st.integers(0, 2**31)).filter(
    lambda t: t[2] <= t[0]
)


def brute_force(automaton: Automaton, symbols: int, max_length: int) -> dict[tuple[int, ...], float]:
    """Sum over all paths of states, by products of transition matrices, for every string over the alphabet."""
    states = len(automaton.edges)
    steps = np.zeros((symbols, states, states))
    for state, edges in enumerate(automaton.edges):
        for edge in edges:
            steps[edge.symbol, state, edge.target] += edge.probability
    found = {}
    for length in range(max_length + 1):
        for string in product(range(symbols), repeat=length):
            weights = np.eye(states)[0]
            for symbol in string:
                weights = weights @ steps[symbol]
            if (mass := float(weights @ automaton.stops)) > 0:
                found[string] = mass
    return found


@settings(max_examples=60, deadline=None)
@given(AUTOMATA, st.integers(1, 5))
def test_language_is_the_brute_force_sum_over_paths(shape, max_length):
    symbols, states, branching, seed = shape
    automaton = Automaton.random(symbols, states, branching, np.random.default_rng(seed))
    expected = brute_force(automaton, symbols, max_length)
    language = Language.of(automaton, "abc"[:symbols], max_length)
    assert list(language.strings) == list(expected)  # both: shorter first, then by symbol
    np.testing.assert_allclose(
        language.probabilities, np.array(list(expected.values())) / sum(expected.values()), rtol=1e-12
    )
    assert automaton.count(max_length) == len(expected)
    assert automaton.symbols(max_length) == set().union(*expected)
    assert language.probabilities.sum() == pytest.approx(1, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(AUTOMATA)
def test_automaton_is_stochastic_deterministic_and_sparse(shape):
    symbols, states, branching, seed = shape
    automaton = Automaton.random(symbols, states, branching, np.random.default_rng(seed))
    assert automaton.stops[0] == 0
    for edges, stop in zip(automaton.edges, automaton.stops, strict=True):
        assert sum(edge.probability for edge in edges) + stop == pytest.approx(1)
        assert len(edges) == branching
        assert all(a.symbol < b.symbol for a, b in pairwise(edges))
        assert all(1 <= edge.target < states for edge in edges)


def test_closed_form():
    # Stops with 1/2 after each a: P(a^n) = 2^-n, renormalised over n = 1..3.
    automaton = Automaton(((Edge(0, 1, 1.0),), (Edge(0, 1, 0.5),)), (0.0, 0.5))
    language = Language.of(automaton, "a", 3)
    np.testing.assert_allclose(language.probabilities, np.array([4, 2, 1]) / 7)
    assert language.strings == ((0,), (0, 0), (0, 0, 0))


def test_samples_follow_the_distribution():
    language = LanguageTask().language
    n = 20_000
    index = {string: i for i, string in enumerate(language.strings)}
    counts = np.bincount([index[s] for s in language.sample(n, np.random.default_rng(3))], minlength=len(index))
    expected = n * language.probabilities
    common = expected >= 5
    observed = [*counts[common], counts[~common].sum()]
    assert common.sum() > 20
    assert chisquare(observed, [*expected[common], expected[~common].sum()]).pvalue > 1e-3


@pytest.mark.parametrize("seed", range(8))
def test_language_is_a_small_share_of_all_strings(seed):
    task = LanguageTask(seed=seed)
    language = task.language
    everything = sum(task.symbols**length for length in range(task.max_length + 1))
    assert 10 <= len(language.strings) < 0.02 * everything
    assert min(map(len, language.strings)) >= 1
    assert max(map(len, language.strings)) <= task.max_length
    assert set().union(*language.strings) == set(range(task.symbols))
    assert 1 < entropy(language.probabilities) < np.log(len(language.strings))


def test_a_symbol_that_is_too_rare_to_be_drawn_is_in_the_corpus():
    task = LanguageTask(seed=2)
    assert "b" in task.language.alphabet
    assert "b" not in "".join(task.examples("train", None)["completion"])
    tokenizer = train_bpe(task.corpus(), 0, "seen")
    assert all(len(tokenizer.encode(symbol, add_special_tokens=False)) == 1 for symbol in task.language.alphabet)


def test_examples_are_drawn_from_the_language():
    task = LanguageTask(train=400, validation=50, test=60)
    texts = {task.language.text(string) for string in task.language.strings}
    drawn = {}
    for split, size in (("train", 400), ("validation", 50), ("test", 60)):
        examples = task.examples(split, None)
        assert len(examples) == size
        assert set(examples["prompt"]) == {""}
        assert set(examples["finished"]) == {True}
        assert set(examples["completion"]) <= texts
        drawn[split] = examples["completion"][:]
    assert drawn["train"][:50] != drawn["validation"]
    assert drawn["train"][:60] != drawn["test"]
    assert list(task.corpus()) == [*task.language.alphabet, *drawn["train"]]
    assert task.examples("train", None)["completion"][:] == drawn["train"]
    assert LanguageTask(train=400).examples("train", None)["completion"][:] == drawn["train"]


def test_seed_changes_the_language():
    first, again, other = (LanguageTask(seed=seed).language for seed in (0, 0, 1))
    assert first.strings == again.strings
    assert np.array_equal(first.probabilities, again.probabilities)
    assert first.strings != other.strings


def test_what_a_policy_may_write():
    task = LanguageTask(symbols=3, max_length=4)
    assert task.error_tokens == task.language.alphabet == ("a", "b", "c")
    assert task.max_new_tokens == 6
    assert not task.disjoint


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"symbols": 0}, "symbols"),
        ({"symbols": 27}, "symbols"),
        ({"states": 1}, "states"),
        ({"branching": 0}, "branching"),
        ({"branching": 6}, "branching"),
        ({"max_length": 0}, "max_length"),
        ({"max_length": 65}, "max_length"),
        ({"train": 0}, "train"),
        ({"validation": "many"}, "validation"),
        ({"test": -3}, "test"),
        ({"seed": 1.5}, "seed"),
    ],
)
def test_bad_settings_are_named(settings, field):
    with pytest.raises(TaskError, match=rf"^LanguageTask: {field} "):
        LanguageTask(**settings)


def test_a_language_too_large_to_list_is_refused():
    with pytest.raises(TaskError, match="lower max_length or branching"):
        _ = LanguageTask(branching=5, max_length=40).language


def test_an_alphabet_that_no_automaton_can_use_is_refused():
    with pytest.raises(TaskError, match="symbols=26"):
        _ = LanguageTask(symbols=26, states=3).language


def test_unknown_split_is_named():
    with pytest.raises(TaskError, match="no split 'dev'"):
        LanguageTask().examples("dev", None)


def test_a_string_is_judged_before_it_is_finished():
    task = LanguageTask()
    judge, strings = task.judge(), {task.language.text(symbols) for symbols in task.language.strings}
    for string in map("".join, chain.from_iterable(product("abcdef", repeat=n) for n in range(5))):
        assert judge(string, "abc", True) == (string in strings)
        assert judge(string, "abc", False) == any(other.startswith(string) for other in strings)
