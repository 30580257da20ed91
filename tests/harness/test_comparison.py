import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from long_tables import of_values
from scipy import stats

from harness.comparison import COLUMNS, compare
from harness.errors import ComparisonError
from harness.leaderboard.comparison import footnotes

EIGHT = list(range(8))


def one(comparison, **where):
    for column, value in where.items():
        comparison = comparison[comparison[column] == value]
    assert len(comparison) == 1
    return comparison.iloc[0]


def shifted(by, n=8):
    """Values of a baseline, and of a trainer that is ahead by about ``by`` under every seed."""
    base = np.linspace(1, 9, n) ** 1.5
    return {"mle": base, "new": base + by + 0.01 * np.arange(n)}


def test_a_row_says_all_that_brute_force_finds():
    rng = np.random.default_rng(0)
    values = {"mle": rng.normal(size=8), "new": rng.normal(0.8, 1, 8), "old": rng.normal(-0.3, 1, 8)}
    comparison = compare(of_values(values))
    assert list(comparison) == list(COLUMNS)
    assert comparison[["trainer", "baseline", "seeds", "missing"]].to_numpy().tolist() == [
        ["new", "mle", 8, ""],
        ["old", "mle", 8, ""],
    ]
    p = {}
    for trainer in ("new", "old"):
        row, differences = one(comparison, trainer=trainer), values[trainer] - values["mle"]
        test = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
        assert (row["mean"], row["baseline_mean"]) == pytest.approx((values[trainer].mean(), values["mle"].mean()))
        assert (row["effect"], row["low"], row["high"]) == pytest.approx((differences.mean(), test.low, test.high))
        signs = np.array(list(itertools.product((1, -1), repeat=8)))
        p[trainer] = float(np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12))
        assert (row["p"], row["test"]) == (p[trainer], "exact")
    first, second = sorted(p, key=p.get)
    adjusted = {first: min(1, 2 * p[first]), second: min(1, max(2 * p[first], p[second]))}
    assert {row["trainer"]: row["p_holm"] for _, row in comparison.iterrows()} == adjusted


@pytest.mark.parametrize(("higher", "by", "verdict"), [(True, 2, "better"), (True, -2, "worse"), (False, -2, "better")])
def test_the_direction_decides_what_is_better(higher, by, verdict):
    row = one(compare(of_values(shifted(by), higher_is_better=higher)))
    assert row["verdict"] == verdict
    assert (row["effect"] > 0) == (verdict == "better")
    assert row["low"] < row["effect"] < row["high"]
    assert pd.isna(row["seeds_needed"])


def test_without_a_direction_there_is_an_effect_and_no_verdict():
    row = one(compare(of_values(shifted(-2), higher_is_better=None)))
    assert row["verdict"] == "no direction"
    assert row["effect"] == pytest.approx(-2 + 0.035)
    assert row["low"] < row["effect"] < row["high"]
    assert math.isnan(row["p"])
    assert pd.isna(row["seeds_needed"])


@pytest.mark.parametrize(
    ("n", "trainers", "needed"), [(5, 1, 6), (6, 1, None), (6, 2, 7), (7, 2, None), (7, 3, None), (7, 4, 8), (1, 1, 6)]
)
def test_too_few_seeds_are_undecidable_however_large_the_difference(n, trainers, needed):
    values = shifted(1000, n)
    values |= {f"new{index}": values["new"] + index for index in range(1, trainers)}
    comparison = compare(of_values(values))
    if needed is None:
        assert set(comparison["verdict"]) == {"better"}
        assert comparison["seeds_needed"].isna().all()
    else:
        assert set(comparison["verdict"]) == {"undecidable"}
        assert set(comparison["seeds_needed"]) == {needed}


def test_alpha_moves_what_is_decidable():
    assert one(compare(of_values(shifted(9, 5)), alpha=0.1))["verdict"] == "better"
    assert one(compare(of_values(shifted(9, 8)), alpha=0.001))["seeds_needed"] == 11


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 5, math.nan])
def test_a_level_is_a_probability(alpha):
    with pytest.raises(ComparisonError, match="between 0 and 1"):
        compare(of_values(shifted(1)), alpha=alpha)


def test_few_seeds_are_decidable_where_the_others_have_more():
    """Holm tests the last at alpha itself: n = 6 suffices for it, once the others have fallen."""
    values = {"mle": [0.0] * 9, "a": [1.0] * 9, "b": [2.0] * 9, "c": [3.0] * 6 + ["failed"] * 3}
    comparison = compare(of_values(values))
    assert one(comparison, trainer="c")["verdict"] == "better"
    assert one(comparison, trainer="c")["p_holm"] == 2 / 2**6
    values["a"] = [1.0, -1] * 4 + [0.5]
    assert one(compare(of_values(values)), trainer="c")["verdict"] == "not distinguishable"


def test_equal_values_are_not_distinguishable():
    row = one(compare(of_values({"mle": EIGHT, "new": EIGHT})))
    assert (row["verdict"], row["p"], row["effect"], row["low"], row["high"]) == ("not distinguishable", 1, 0, 0, 0)


def test_one_pair_has_an_effect_and_no_interval():
    row = one(compare(of_values({"mle": [1.0], "new": [3.0]})))
    assert (row["seeds"], row["effect"], row["verdict"]) == (1, 2, "undecidable")
    assert math.isnan(row["low"])
    assert math.isnan(row["high"])


def test_missing_seeds_are_listed_and_not_averaged_over():
    values = {"mle": [1.0, 2, 3, "failed", 5, 6], "new": [2.0, "missing", 4, 400, 6, "failed"]}
    row = one(compare(of_values(values)))
    assert row["seeds"] == 3
    assert row["missing"] == "seed 1: new missing; seed 3: mle failed; seed 5: new failed"
    assert (row["mean"], row["baseline_mean"], row["effect"]) == (4, 3, 1)


def test_seeds_without_a_row_numbers_not_reported_and_numbers_that_are_none_are_missing():
    table = of_values({"mle": [1.0] * 4, "new": [2.0] * 4})
    table.loc[table["trainer"].eq("new") & table["seed"].eq(1), "metric"] = "other"
    table.loc[table["trainer"].eq("new") & table["seed"].eq(2), "value"] = math.inf
    table = table[~(table["trainer"].eq("mle") & table["seed"].eq(3))]
    row = one(compare(table, metrics=["score"]))
    assert row["missing"] == "seed 1: new not reported; seed 2: new inf; seed 3: mle missing"
    assert (row["seeds"], row["effect"]) == (1, 1)


@pytest.mark.parametrize(
    ("infinite", "verdict"), [(("new",), "undecidable"), (("mle",), "undecidable"), (("mle", "new"), "better")]
)
def test_seeds_with_a_number_are_no_fair_sample_if_the_others_finished_without_one(infinite, verdict):
    table = of_values(shifted(5, n=10))
    table.loc[table["trainer"].isin(infinite) & table["seed"].lt(3), "value"] = math.inf
    row = one(compare(table))
    assert (row["seeds"], row["verdict"], pd.isna(row["seeds_needed"])) == (7, verdict, True)
    assert ("a finished trial has no finite number" in "".join(footnotes(compare(table), 0.05))) == (len(infinite) == 1)
    failed = table.assign(status=table["status"].where(np.isfinite(table["value"]), "failed"))
    assert one(compare(failed))["verdict"] == "better"


def test_a_number_that_alone_is_missing_is_said_to_be():
    table = of_values({"mle": [1.0, 3.0], "new": [2.0, 5.0]})
    alone = table["trainer"].eq("new") & table["seed"].eq(1)
    table.loc[alone, ["status", "value"]] = ["missing", math.nan]
    row = one(compare(table))
    assert (row["missing"], row["seeds"], row["effect"]) == ("seed 1: new missing", 1, 1)


def test_nothing_to_pair_is_a_row_without_numbers():
    row = one(compare(of_values({"mle": [1.0, 2.0], "new": ["failed", "failed"]})))
    assert (row["seeds"], row["verdict"], row["seeds_needed"]) == (0, "undecidable", 6)
    assert row[["mean", "baseline_mean", "effect", "low", "high", "p", "p_holm", "sample_error"]].isna().all()


def test_what_cannot_be_paired_is_no_member_of_the_family():
    values = {**shifted(5, 6), "gone": ["failed"] * 6}
    assert one(compare(of_values(values)), trainer="new")["verdict"] == "better"
    values = {**shifted(5, 5), "gone": ["failed"] * 5}
    assert one(compare(of_values(values)), trainer="new")["seeds_needed"] == 7, "it will be one, once it has run"


def test_a_number_that_no_trial_reported_is_shown_as_missing():
    comparison = compare(of_values(shifted(1, 6)), metrics={"t": ["kl"]})
    assert one(comparison)["missing"].startswith("seed 0: new not reported, mle not reported; seed 1")


def test_decoders_are_compared_with_themselves_and_share_a_family():
    table = pd.concat(
        [
            of_values(shifted(5, 6), decoder="ancestral"),
            of_values({"mle": [9.0] * 6, "new": [1.0] * 6}, decoder="greedy"),
            of_values({"new": [1.0] * 6}, decoder="beam"),
        ]
    )
    comparison = compare(table)
    assert one(comparison, decoder="ancestral")["effect"] > 0
    assert one(comparison, decoder="greedy")["effect"] == -8
    assert one(comparison, decoder="greedy")["seeds_needed"] == 7
    beam = one(comparison, decoder="beam")
    assert beam["seeds"] == 0
    assert "seed 0: mle not run under beam" in beam["missing"]


def test_metrics_and_tasks_are_families_of_their_own():
    table = pd.concat([of_values(shifted(5, 6), metric=metric, task=task) for task in "tu" for metric in "ab"])
    comparison = compare(table)
    assert comparison[["task", "metric"]].to_numpy().tolist() == [["t", "a"], ["t", "b"], ["u", "a"], ["u", "b"]]
    assert (comparison["p_holm"] == 2 / 2**6).all()
    assert list(compare(table, metrics=["b"])["task"]) == ["t", "u"]
    assert list(compare(table, metrics={"t": ["b"], "u": []})["metric"]) == ["b"]


def test_sample_errors_are_pooled_over_seeds_and_unknown_where_one_is():
    values, errors = {"mle": [1.0, 2.0], "new": [3.0, 4.0]}, {"mle": [3.0, 4.0], "new": [0.0, 0.0]}
    row = one(compare(of_values(values, errors=errors)))
    assert (row["sample_error"], row["baseline_sample_error"]) == (0, math.sqrt(12.5))
    errors["new"][1] = math.nan
    assert math.isnan(one(compare(of_values(values, errors=errors)))["sample_error"])


def test_the_baseline_is_mle_or_the_first_or_the_one_named():
    table = of_values({"zero": EIGHT, "mle": EIGHT, "new": EIGHT})
    assert set(compare(table)["baseline"]) == {"mle"}
    assert set(compare(table, "new")["baseline"]) == {"new"}
    assert set(compare(table[table["trainer"] != "mle"])["baseline"]) == {"zero"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"baseline": "mel"}, "unknown baseline 'mel'; did you mean 'mle'?"),
        ({"metrics": ["scoer"]}, "no metric of the results is called 'scoer'; did you mean 'score'?"),
    ],
)
def test_unknown_names_are_said(arguments, message):
    with pytest.raises(ComparisonError, match=message.replace("?", r"\?")):
        compare(of_values(shifted(1)), **arguments)


def test_one_trainer_is_nothing_to_compare():
    with pytest.raises(ComparisonError, match="nothing to compare"):
        compare(of_values({"mle": EIGHT}))


def test_a_value_that_is_there_twice_is_refused():
    table = of_values(shifted(1))
    with pytest.raises(
        ComparisonError, match=r"the table has score of mle on t \(d\), seed 0, more than once: keep the rows of one"
    ):
        compare(pd.concat([table, table]))


@pytest.mark.parametrize("first", [True, False])
def test_a_trial_that_has_numbers_and_has_none_is_refused(first):
    """Two tables put together: the failure must not vanish behind the values."""
    both = [of_values(shifted(1)), of_values({"new": ["finished", "failed"]}).tail(1)]
    with pytest.raises(ComparisonError, match=r"new on t \(d\), seed 1, both as finished and as not"):
        compare(pd.concat(both if first else both[::-1]))


def test_a_metric_with_two_directions_is_refused():
    table = of_values(shifted(1))
    table.loc[3, "higher_is_better"] = False
    with pytest.raises(ComparisonError, match=r"different directions \(higher_is_better\) for score of task 't'"):
        compare(table)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 1e6, -3.0]), st.sampled_from([1.0, 1e-6, 1e6]))
def test_neither_the_order_of_rows_nor_what_a_seed_does_to_all_nor_the_unit_matters(number, offset, unit):
    rng = np.random.default_rng(number)
    values = {name: rng.integers(-50, 50, 7).astype(float) for name in ("mle", "a", "b")}
    table = of_values(values)
    shuffled = of_values({name: (each + offset * np.arange(7)) * unit for name, each in values.items()})
    shuffled = shuffled.sample(frac=1, random_state=number).reset_index(drop=True)
    left, right = (compare(each).sort_values("trainer") for each in (table, shuffled))
    assert left["p_holm"].tolist() == right["p_holm"].tolist()
    assert left["verdict"].tolist() == right["verdict"].tolist()
    assert right["effect"].tolist() == pytest.approx((left["effect"] * unit).tolist(), rel=1e-6, abs=1e-6 * unit)


def test_swapping_trainer_and_baseline_swaps_the_verdict():
    table = of_values(shifted(3))
    there, back = one(compare(table)), one(compare(table, "new"))
    assert (there["effect"], there["low"], there["high"]) == pytest.approx(
        (-back["effect"], -back["high"], -back["low"])
    )
    assert (there["verdict"], back["verdict"], there["p"]) == ("better", "worse", back["p"])
