"""What the conformance checks, which all built-in metrics pass, leave open: directions, and messages word by word."""

import math
import subprocess
import sys

import pandas as pd
import pytest

from metrics.accuracy import Accuracy
from metrics.base import KnownAnswer, MetricContext, MetricError
from metrics.diversity import Diversity
from metrics.exact import Exact
from metrics.generative_perplexity import GenerativePerplexity
from metrics.injected_errors import InjectedErrors
from metrics.mauve import Mauve
from metrics.perplexity import Perplexity
from metrics.trajectories import Trajectories

METRICS = [
    Accuracy,
    Diversity,
    Exact,
    GenerativePerplexity,
    InjectedErrors,
    Mauve,
    Perplexity,
    Trajectories,
]
DECLARED = {metric: dict(metric.values) for metric in METRICS}


@pytest.fixture
def generations():
    texts = ["ab" * (row % 5) for row in range(60)]
    return pd.DataFrame(
        {
            "prompt": ["a", ""] * 30,
            "completion": texts,
            "reference": texts[::-1],
            "completion_ids": [[0, 1]] * 60,
            "finish": ["eos"] * 60,
            "actions": [[0, 1, 2]] * 60,
            "n_actions": [3] * 60,
            "n_backspaces": [0] * 60,
        }
    )


def build(metric, tiny_llama):
    return metric(model=tiny_llama) if metric in (GenerativePerplexity, Mauve) else metric()


def test_a_wrong_answer_does_not_hold():
    assert not KnownAnswer("wrong", 0.5, 0.5 + 1e-6).holds
    assert not KnownAnswer("not a number", math.nan, 0.5).holds


def test_directions():
    better = {n: v.higher_is_better for values in DECLARED.values() for n, v in values.items()}
    assert {name for name, direction in better.items() if direction} == {
        "accuracy",
        "diversity",
        "erase_after_error",
        "erased_wrong_share",
        "erasure_recall",
        "mauve",
        "mauve_star",
        "recovered_share",
        "recovery",
    }
    assert {name for name, direction in better.items() if direction is False} == {
        "perplexity",
        "kl_forward",
        "kl_reverse",
        "total_variation",
        "jensen_shannon",
        "chi2_mixture",
        "invalid_mass",
        "rep_2",
        "rep_3",
        "rep_4",
        "seq_rep_4",
        "self_bleu",
        "erase_after_right",
        "erased_right_share",
        "oscillation",
        *(f"{kind}_error_{t}" for kind in ("free_running", "teacher_forced", "excess") for t in range(1, 21)),
        "mauve_frontier_integral",
    }


@pytest.mark.parametrize(
    ("metric", "column"),
    [(m, c) for m in METRICS for c in m.columns if c in ("prompt", "completion", "reference")],
)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (b"ab", "strings, got b'ab' at place 7: decode it first"),
        (None, "strings, got None at place 7"),
        (3.5, "strings, got 3.5 at place 7"),
        ("a\ud800", "text 7 is no valid Unicode, surrogates not allowed"),
    ],
)
def test_what_is_no_text_is_named(metric, column, wrong, message, generations, tiny_llama):
    table = generations.copy()
    table[column] = pd.Series([*table[column][:7], wrong, *table[column][8:]], dtype=object)
    with pytest.raises(MetricError, match=f"column '{column}'.*{message}"):
        build(metric, tiny_llama).compute(table, MetricContext())


def test_importing_the_package_loads_nothing_heavy():
    script = "import sys, metrics; print(sorted({'torch', 'transformers', 'pandas', 'numpy'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
