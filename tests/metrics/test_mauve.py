import numpy as np
import pandas as pd
import pytest

from metrics.base import MetricContext, MetricError
from metrics.features import token_counts
from metrics.mauve import Mauve

WORDS = ["we", "the", "people", "of", "states", "in", "order", "to", "form", "more", "perfect", "union"]


def texts(seed, count=60, words=8):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, words)) for _ in range(count)]


def measure(model, completions, references, real=(), cache=None, **settings):
    table = pd.DataFrame({"completion": completions, "reference": references})
    return Mauve(model=model, **settings).compute(table, MetricContext(real=real, cache=cache))


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


def test_the_length_ratio_is_that_of_what_is_seen(tiny_llama):
    counts = [token_counts(each, tiny_llama, 60).mean() for each in (texts(1, words=9), texts(0, words=3))]
    assert measure(tiny_llama, texts(1, words=9), texts(0, words=3))["mauve_length_ratio"] == counts[0] / counts[1] > 1
    cut = measure(tiny_llama, texts(1, words=9), texts(0, words=3), max_tokens=4)
    assert cut["mauve_length_ratio"] == 1
    assert measure(tiny_llama, texts(0), [""] * 60)["mauve_length_ratio"] > 60


def test_only_the_first_tokens_are_seen(tiny_llama):
    longer = [text + " and a tail nobody reads" for text in texts(0)]
    shortest = min(map(len, texts(0)))
    assert measure(tiny_llama, longer, texts(0), max_tokens=shortest)["mauve"] == pytest.approx(1)


@pytest.mark.parametrize("backend", ["seqmatch", "mauve-text"])
def test_reports_all_it_declares(tiny_llama, backend):
    measured = measure(
        tiny_llama, ["", "", *texts(1)[2:]], texts(0), texts(2), max_tokens=32, clusters=7, backend=backend
    )
    assert measured.keys() == Mauve.values.keys() - ({"mauve_p"} if backend == "mauve-text" else set())
    assert measured["mauve_n"] == 60
    assert measured["mauve_clusters"] == 7
    assert measured["mauve_tokens"] == 32
    assert measured["mauve_empty"] == 2
    assert measured["mauve"] < measured["mauve_star"] < 1
    assert 0 < measured["mauve_frontier_integral"] < 0.2


def test_backends_agree_without_a_ceiling(tiny_llama):
    ours, theirs = (measure(tiny_llama, texts(1), texts(0), backend=name) for name in ("seqmatch", "mauve-text"))
    del ours["mauve_p"]
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_ceiling_is_what_real_texts_score(tiny_llama):
    measured = measure(tiny_llama, texts(2), texts(0), real=[*texts(2), "not looked at"])
    assert measured["mauve_ceiling"] == measured["mauve"]
    poor = measure(tiny_llama, ["zzzz zzzz"] * 60, texts(0), real=texts(2))
    assert poor["mauve"] < 0.5 < poor["mauve_ceiling"] < 1


def test_no_ceiling_from_fewer_texts(tiny_llama):
    assert "mauve_ceiling" not in measure(tiny_llama, texts(1), texts(0), real=texts(2)[:59])


def test_settings_reach_the_score(tiny_llama):
    usual = measure(tiny_llama, texts(1), texts(0))["mauve"]
    for settings in ({"scaling": 2.0}, {"clusters": 9}, {"clusterings": 1}, {"layer": 1}, {"pooling": "mean"}):
        assert measure(tiny_llama, texts(1), texts(0), **settings)["mauve"] != usual


def test_too_few_texts_and_why(tiny_llama):
    with pytest.raises(MetricError, match="at least 50 generations, got 49: with fewer"):
        measure(tiny_llama, texts(1)[:49], texts(0)[:49])


def test_no_clusterings():
    with pytest.raises(MetricError, match="clusterings"):
        Mauve(clusterings=0)
