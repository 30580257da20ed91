from itertools import combinations, product

import numpy as np
import pytest
from scipy.stats import binom

from metrics.base import MetricError
from metrics.clustering import JointClustering, joint_clustering
from metrics.histograms import mauve_from_histograms
from metrics.mauve_inputs import mauve_inputs
from metrics.mauve_significance import against_reference, between_systems

LEVEL = 0.05
ROUNDS = pytest.mark.parametrize("rounds", [100, pytest.param(400, marks=pytest.mark.long)])


def labelled(reference, clusters=3, **systems):
    """A clustering given by its labels; one seed where they are flat."""
    shaped = {name: np.atleast_2d(labels) for name, labels in systems.items()}
    return JointClustering(shaped, np.atleast_2d(reference), None, clusters)


def rejections(p_values):
    return sum(p <= LEVEL for p in p_values)


def assert_holds_level(p_values):
    """Two-sided: neither too many nor too few rejections, wrong once in 10,000 such tests."""
    low, high = binom.interval(1 - 1e-4, len(p_values), LEVEL)
    assert low <= rejections(p_values) <= high


def sample(seed, n=60, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, size=(n, 6)).astype(np.float32)


@ROUNDS
def test_level_holds_against_the_reference(rounds):
    """From features to p, new texts and clusters every time."""
    p_values = []
    for seed in range(rounds):
        inputs = mauve_inputs({"a": sample([seed, 0])}, sample([seed, 1]), clusterings=2, seed=seed)
        p_values.append(against_reference(joint_clustering(inputs), "a", permutations=99, seed=seed).p_value)
    assert_holds_level(p_values)


def paired(seed, shift=0.0):
    """Two systems whose texts share what their prompt asks for, and references."""
    prompts = 3 * sample([seed, 9])
    return {"a": prompts + sample([seed, 0], shift=shift), "b": prompts + sample([seed, 1])}, sample([seed, 2])


@ROUNDS
def test_level_holds_between_systems(rounds):
    p_values = []
    for seed in range(rounds):
        inputs = mauve_inputs(*paired(seed), clusterings=2, seed=seed)
        p_values.append(between_systems(joint_clustering(inputs), "a", "b", permutations=99, seed=seed).p_value)
    assert_holds_level(p_values)


def test_differences_are_found():
    """Where a shift of the texts makes them: more rejections than chance gives once in a million."""
    against, between = [], []
    for seed in range(40):
        clustering = joint_clustering(mauve_inputs(*paired(seed, shift=2.0), clusterings=2, seed=seed))
        against.append(against_reference(clustering, "a", permutations=99, seed=seed).p_value)
        between.append(between_systems(clustering, "a", "b", permutations=99, seed=seed).p_value)
    bar = binom.isf(1e-6, 40, LEVEL)
    assert rejections(against) > bar
    assert rejections(between) > bar


def exact_against(reference, system):
    """All assignments of the pooled rows to the system."""
    pooled = np.concatenate([reference, system])
    scores = []
    for chosen in combinations(range(len(pooled)), len(reference)):
        inside = np.isin(np.arange(len(pooled)), chosen)
        scores.append(score(pooled[inside], pooled[~inside]))
    return np.mean(np.array(scores) <= score(reference, system) + 1e-12)


def score(p, q):
    return mauve_from_histograms(*(np.bincount(labels, minlength=3) for labels in (p, q))).mauve


def assert_near(test, expected):
    share = binom.interval(1 - 1e-6, test.permutations, expected)
    assert share[0] <= test.p_value * (test.permutations + 1) - 1 <= share[1]


@pytest.mark.parametrize("seed", range(4))
def test_p_against_reference_is_that_of_all_permutations(seed):
    rng = np.random.default_rng(seed)
    reference, system = rng.choice(3, 6, p=[0.6, 0.3, 0.1]), rng.choice(3, 6, p=[0.1, 0.3, 0.6])
    test = against_reference(labelled(reference, a=system), "a", permutations=4000)
    assert test.statistic == pytest.approx(score(reference, system))
    assert_near(test, exact_against(reference, system))


@pytest.mark.parametrize("seed", range(4))
def test_p_between_systems_is_that_of_all_exchanges(seed):
    rng = np.random.default_rng(seed)
    reference, a, b = (rng.choice(3, 8, p=share) for share in ([0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.1, 0.3, 0.6]))
    differences = [
        score(reference, np.where(kept, a, b)) - score(reference, np.where(kept, b, a))
        for kept in product([True, False], repeat=8)
    ]
    test = between_systems(labelled(reference, a=a, b=b), "a", "b", permutations=4000)
    assert test.statistic == pytest.approx(score(reference, a) - score(reference, b))
    assert_near(test, np.mean(np.abs(differences) >= abs(test.statistic) - 1e-12))


def test_statistic_is_the_mean_over_clusterings():
    rng = np.random.default_rng(0)
    reference, a, b = rng.integers(0, 3, size=(3, 2, 30))
    clustering = labelled(reference, a=a, b=b)
    means = {
        name: np.mean([score(*pair) for pair in zip(reference, rows, strict=True)])
        for name, rows in (("a", a), ("b", b))
    }
    assert against_reference(clustering, "a").statistic == pytest.approx(means["a"])
    assert between_systems(clustering, "a", "b").statistic == pytest.approx(means["a"] - means["b"])


def test_chunks_change_nothing(monkeypatch):
    clustering = joint_clustering(mauve_inputs(*paired(0)))
    whole = against_reference(clustering, "a", permutations=50), between_systems(clustering, "a", "b", permutations=50)
    monkeypatch.setattr("metrics.mauve_significance.CHUNK_ELEMENTS", 200)
    parts = against_reference(clustering, "a", permutations=50), between_systems(clustering, "a", "b", permutations=50)
    assert parts == whole


def test_equal_texts_are_never_told_apart():
    rows = np.random.default_rng(0).integers(0, 3, 40)
    clustering = labelled(rows, a=rows, b=rows)
    assert against_reference(clustering, "a").p_value == 1
    assert between_systems(clustering, "a", "b").p_value == 1


def test_p_is_never_zero():
    """The observed labels are one of the permutations."""
    reference, a = np.zeros(30, int), np.ones(30, int)
    assert against_reference(labelled(reference, a=a), "a", permutations=99).p_value == 1 / 100


def test_exchanging_the_systems_turns_the_sign():
    clustering = joint_clustering(mauve_inputs(*paired(1, shift=0.5)))
    one, other = between_systems(clustering, "a", "b"), between_systems(clustering, "b", "a")
    assert one.statistic == pytest.approx(-other.statistic)
    assert one.statistic != 0
    assert one.p_value == pytest.approx(other.p_value, abs=0.1)


def test_pairing_is_by_prompt():
    """All that differs is within prompts: each prompt's two texts are one of each cluster, always the same way."""
    reference, a, b = np.zeros(20, int), np.zeros(20, int), np.ones(20, int)
    test = between_systems(labelled(reference, a=a, b=b), "a", "b", permutations=999)
    assert test.p_value <= 2 / 1000


def test_bad_requests():
    clustering = labelled(np.zeros(9, int), a=np.zeros(9, int))
    with pytest.raises(MetricError, match=r"no system 'b' in this clustering, only \['a'\]"):
        between_systems(clustering, "a", "b")
    with pytest.raises(MetricError, match="no system 'c'"):
        against_reference(clustering, "c")
    with pytest.raises(MetricError, match="at least 1 permutation, got 0"):
        against_reference(clustering, "a", permutations=0)
    with pytest.raises(MetricError, match="scaling must be positive"):
        against_reference(clustering, "a", scaling=-1)
