import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, kstest

from metrics.base import MetricContext, MetricError
from metrics.clustering import joint_clustering
from metrics.features import hidden_states
from metrics.mauve import Mauve, mauve_from_features
from metrics.mauve_inputs import mauve_inputs
from metrics.mauve_significance import against_reference, between_systems

WORDS = ["we", "the", "people", "of", "states", "in", "order", "to", "form", "more", "perfect", "union"]
N = 60


def texts(seed, count=N, words=WORDS):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(words, 6)) for _ in range(count)]


def table(completions, references=None):
    return pd.DataFrame(
        {
            "prompt": [f"{row:02d}" for row in range(len(completions))],
            "completion": completions,
            "reference": references or texts(0, len(completions)),
        }
    )


@pytest.fixture
def systems():
    return {"good": table(texts(1)), "poor": table(texts(2, words=WORDS[:3])), "other": table(texts(3))}


@pytest.fixture
def mauve(tiny_llama):
    return Mauve(model=tiny_llama, clusterings=2, max_tokens=32, permutations=199, scaling=2.0, clusters=5)


CONTEXT = MetricContext(real=texts(9), seed=7)


def features(mauve, of):
    return hidden_states(list(of), mauve.model, max_tokens=32)


def test_joint_numbers_are_those_of_the_library(mauve, systems):
    """Scores, p-values and differences, from features in the order of rows."""
    found = mauve.compute_jointly(systems, CONTEXT)
    rows = {name: features(mauve, system["completion"]) for name, system in systems.items()}
    reference, real = features(mauve, texts(0)), features(mauve, texts(9))
    options = {"real": real, "clusters": 5, "clusterings": 2, "seed": 7}
    expected = mauve_from_features(rows, reference, scaling=2.0, **options)
    clustering = joint_clustering(mauve_inputs(rows, reference, **options))
    tested = {"scaling": 2.0, "permutations": 199, "seed": 7}
    assert list(found.numbers) == ["good", "poor", "other"]
    for name, numbers in found.numbers.items():
        assert numbers["mauve"] == pytest.approx(expected[name].mauve, abs=1e-9)
        assert numbers["mauve_star"] == pytest.approx(expected[name].mauve_star, abs=1e-9)
        assert numbers["mauve_ceiling"] == pytest.approx(expected[name].mauve_ceiling, abs=1e-9)
        assert numbers["mauve_p"] == against_reference(clustering, name, **tested).p_value
        assert numbers.keys() == Mauve.values.keys()
    assert [(pair.first, pair.second) for pair in found.differences] == [
        ("good", "poor"),
        ("good", "other"),
        ("poor", "other"),
    ]
    for pair in found.differences:
        test = between_systems(clustering, pair.first, pair.second, **tested)
        assert (pair.metric, pair.p_value) == ("mauve", test.p_value)
        assert pair.difference == pytest.approx(test.statistic, abs=1e-9)
        assert pair.difference == pytest.approx(
            found.numbers[pair.first]["mauve"] - found.numbers[pair.second]["mauve"], abs=1e-12
        )


def test_one_system_alone_has_the_numbers_of_compute(mauve, systems):
    found = mauve.compute_jointly({"good": systems["good"]}, CONTEXT)
    assert found.numbers["good"] == mauve.compute(systems["good"], CONTEXT)
    alone = mauve_from_features(
        {"good": features(mauve, systems["good"]["completion"])},
        features(mauve, texts(0)),
        real=features(mauve, texts(9)),
        clusters=5,
        clusterings=2,
        seed=7,
        scaling=2.0,
    )["good"]
    assert found.numbers["good"]["mauve"] == pytest.approx(alone.mauve, abs=1e-9)
    assert found.differences == ()


def test_other_systems_move_the_clusters(mauve, systems):
    together = mauve.compute_jointly(systems, CONTEXT).numbers["good"]["mauve"]
    assert together != mauve.compute(systems["good"], CONTEXT)["mauve"]


def test_the_order_of_systems_changes_only_signs(mauve, systems):
    one = mauve.compute_jointly(systems, CONTEXT)
    other = mauve.compute_jointly(dict(reversed(systems.items())), CONTEXT)
    assert other.numbers == one.numbers
    turned = {(pair.second, pair.first): (-pair.difference, pair.p_value) for pair in other.differences}
    for pair in one.differences:
        assert turned[pair.first, pair.second] == (pytest.approx(pair.difference, abs=1e-12), pair.p_value)


def test_the_order_of_rows_changes_no_number(mauve, systems):
    order = np.random.default_rng(0).permutation(N)
    shuffled = {name: system.iloc[order] for name, system in systems.items()}
    one, other = mauve.compute_jointly(systems, CONTEXT), mauve.compute_jointly(shuffled, CONTEXT)
    assert other.numbers == one.numbers


@pytest.mark.parametrize(
    ("column", "row", "message"),
    [
        (
            "prompt",
            3,
            r"'good' and 'other' are compared row by row, but in row 3 one has the prompt '03' and the other 'x'",
        ),
        (
            "reference",
            5,
            r"in row 5 one has the reference '.*' and the other 'x': give both for the same test examples",
        ),
    ],
)
def test_rows_that_do_not_match_are_an_error(mauve, systems, column, row, message):
    systems["other"].loc[row, column] = "x"
    with pytest.raises(MetricError, match=message):
        mauve.compute_jointly(systems, CONTEXT)


def test_systems_that_cannot_be_compared_are_an_error(mauve, systems):
    good = systems["good"]
    for others, message in (
        ({}, "Mauve needs at least one system"),
        ({"good": good, "long": table(texts(5, 61))}, "'good' and 'long' have 60 and 61 rows"),
        ({"good": good, "short": table(texts(5, 49))}, "system 'short': Mauve needs at least 50 generations, got 49"),
        ({"good": good, "bare": good.drop(columns="prompt")}, "system 'bare': the column 'prompt' is missing"),
        ({"bare": good.drop(columns="prompt"), "good": good}, "system 'bare': the column 'prompt' is missing"),
        ({"good": good.drop(columns="completion")}, r"system 'good': Mauve reads the columns \['completion'\]"),
    ):
        with pytest.raises(MetricError, match=message):
            mauve.compute_jointly(others, CONTEXT)


def test_the_reference_implementation_cannot_compare(tiny_llama, systems):
    theirs = Mauve(model=tiny_llama, backend="mauve-text", clusterings=1)
    assert Mauve(model=tiny_llama).why_alone() is None
    with pytest.raises(MetricError, match=r'clusters every system by itself.*use backend = "seqmatch"'):
        theirs.compute_jointly(systems, CONTEXT)
    alone = theirs.compute_jointly({"good": systems["good"]}, CONTEXT)
    assert alone.numbers["good"] == theirs.compute(systems["good"], CONTEXT)
    assert "mauve_p" not in alone.numbers["good"]


def test_no_permutations():
    with pytest.raises(MetricError, match="permutations must be at least 1, got 0"):
        Mauve(permutations=0)


def measured_again(monkeypatch, rounds, draw, names="ab"):
    """All of a measurement but the features of texts, which are numbers that ``draw`` draws anew every round."""
    found = []
    for seed in range(rounds):
        drawn = draw(np.random.default_rng(seed))

        def rows(texts, *_, drawn=drawn, **__):
            return np.array([drawn[text] for text in texts], np.float32)

        monkeypatch.setattr("metrics.mauve.hidden_states", rows)
        monkeypatch.setattr("metrics.mauve.token_counts", lambda texts, *_: np.ones(len(texts), int))
        systems = {
            name: table([f"{name}{row}" for row in range(50)], [f"r{row}" for row in range(50)]) for name in names
        }
        found.append(Mauve(clusterings=2, permutations=99).compute_jointly(systems, MetricContext(seed=seed)))
    return found


def independent(rng):
    return {f"{name}{row}": rng.normal(size=6) for name in "abr" for row in range(50)}


def prompted(rng, shift=0.0):
    """Texts of all systems follow their prompt; those of c are shifted."""
    prompts = {row: 2 * rng.normal(size=6) for row in range(50)}
    noise = {f"{name}{row}": rng.normal(size=6) + (name == "c") * shift for name in "abc" for row in prompts}
    references = {f"r{row}": 2 * rng.normal(size=6) for row in prompts}
    return references | {text: prompts[int(text[1:])] + drawn for text, drawn in noise.items()}


def assert_uniform(p_values):
    """Neither too many nor too few small ones, nor another shape; wrong once in 10,000 times."""
    low, high = binom.interval(1 - 1e-4, len(p_values), 0.05)
    assert low <= sum(p <= 0.05 for p in p_values) <= high
    assert kstest(p_values, "uniform").pvalue > 1e-4


@pytest.mark.long
def test_p_values_are_uniform_where_all_have_one_distribution(monkeypatch):
    found = measured_again(monkeypatch, 150, independent)
    assert_uniform([joint.differences[0].p_value for joint in found])
    assert_uniform([joint.numbers["b"]["mauve_p"] for joint in found])


@pytest.mark.long
def test_p_values_are_uniform_where_texts_follow_their_prompt(monkeypatch):
    assert_uniform([joint.differences[0].p_value for joint in measured_again(monkeypatch, 150, prompted)])


def test_a_system_that_differs_is_found(monkeypatch):
    found = measured_again(monkeypatch, 20, lambda rng: prompted(rng, 3.0), "abc")
    ab, ac, bc = np.sum([[pair.p_value <= 0.05 for pair in joint.differences] for joint in found], axis=0)
    assert ab <= binom.isf(1e-4, 20, 0.05)
    assert min(ac, bc) > binom.isf(1e-6, 20, 0.05)
    assert sum(joint.numbers["c"]["mauve_p"] <= 0.05 for joint in found) > binom.isf(1e-6, 20, 0.05)
