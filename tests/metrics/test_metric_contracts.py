import dataclasses
import math
import subprocess
import sys

import numpy as np
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
from metrics.tabular import TabularLanguage, TabularPolicy
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
def context(tmp_path):
    return MetricContext(
        policy=TabularPolicy("ab", lambda visible: (0.4, 0.2, 0.3, 0.1) if visible else (0.6, 0.4, 0, 0), True),
        language=TabularLanguage(("a", "b"), 2, ((0,), (0, 1)), np.array([0.5, 0.5])),
        judge=lambda text, reference, ended: len(text) < 4,
        error_tokens=("a", "b"),
        prompts=["", "a"],
        completions=["ab", "b"],
        finished=[True, False],
        real=["ab" * (i % 5) for i in range(60)],
        cache=tmp_path / "features",
        seed=7,
    )


@pytest.fixture
def generations():
    rng = np.random.default_rng(0)
    ids = [rng.integers(0, 2, rng.integers(0, 9)).tolist() for _ in range(60)]
    texts = ["".join("ab"[i] for i in row) for row in ids]
    finish = rng.choice(["eos", "length", "actions"], 60)
    actions = [[0, 3, *row, *([2] if end == "eos" else [])] for row, end in zip(ids, finish, strict=True)]
    return pd.DataFrame(
        {
            "prompt": ["a", ""] * 30,
            "completion": texts,
            "reference": ["".join(rng.permutation(list(text + "ab"))) for text in texts[:40]] + texts[40:],
            "completion_ids": ids,
            "finish": finish,
            "actions": actions,
            "n_actions": [len(row) for row in actions],
            "n_backspaces": [1] * 60,
        }
    )


def build(metric, tiny_llama):
    return metric(model=tiny_llama) if metric in (GenerativePerplexity, Mauve) else metric()


@pytest.mark.parametrize("metric", METRICS)
def test_known_answers_hold(metric):
    answers = metric.known_answers()
    assert len(answers) >= 1
    assert [answer for answer in answers if not answer.holds] == []
    assert len({answer.case for answer in answers}) == len(answers)


def test_a_wrong_answer_does_not_hold():
    assert not KnownAnswer("wrong", 0.5, 0.5 + 1e-6).holds
    assert not KnownAnswer("not a number", math.nan, 0.5).holds


@pytest.mark.parametrize("metric", METRICS)
def test_values_are_declared_and_in_range(metric, generations, context, tiny_llama):
    measured = build(metric, tiny_llama).compute(generations, context)
    assert measured
    for name, number in measured.items():
        low, high = DECLARED[metric][name].range
        assert low <= number <= high
        assert isinstance(number, float)
        assert not getattr(number, "standard_error", math.nan) < 0


@pytest.mark.parametrize("metric", METRICS)
def test_the_order_of_rows_does_not_matter(metric, generations, context, tiny_llama):
    one = build(metric, tiny_llama)
    shuffled = generations.sample(frac=1, random_state=3)
    assert one.compute(shuffled, context) == pytest.approx(one.compute(generations, context), rel=1e-12)


def test_names_are_unique_over_all_metrics():
    names = [name for values in DECLARED.values() for name in values]
    assert len(names) == len(set(names))


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


@pytest.mark.parametrize(("metric", "column"), [(metric, column) for metric in METRICS for column in metric.columns])
def test_a_missing_column_is_named(metric, column, generations, context, tiny_llama):
    with pytest.raises(MetricError, match=column):
        build(metric, tiny_llama).compute(generations.drop(columns=column), context)


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
def test_what_is_no_text_is_named(metric, column, wrong, message, generations, context, tiny_llama):
    table = generations.copy()
    table[column] = pd.Series([*table[column][:7], wrong, *table[column][8:]], dtype=object)
    with pytest.raises(MetricError, match=f"column '{column}'.*{message}"):
        build(metric, tiny_llama).compute(table, context)


@pytest.mark.parametrize("metric", [metric for metric in METRICS if metric.minimum_n])
def test_too_few_generations_are_an_error(metric, generations, context, tiny_llama):
    with pytest.raises(MetricError, match=f"at least {metric.minimum_n} generations"):
        build(metric, tiny_llama).compute(generations[: metric.minimum_n - 1], context)


@pytest.mark.parametrize(("metric", "need"), [(metric, need) for metric in METRICS for need in sorted(metric.needs)])
def test_a_missing_need_is_named(metric, need, generations, context, tiny_llama):
    with pytest.raises(MetricError, match=need):
        build(metric, tiny_llama).compute(generations, dataclasses.replace(context, **{need: None}))


def test_importing_the_package_loads_nothing_heavy():
    script = "import sys, metrics; print(sorted({'torch', 'transformers', 'pandas', 'numpy'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
