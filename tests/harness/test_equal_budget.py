import math
import warnings

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from small_studies import small_study, toy

import harness
from harness.equal_budget import CLOCKS, at_budget, parse_at, spending
from harness.errors import RequestError
from harness.leaderboard.plain import as_text
from harness.leaderboard.table import leaderboard
from harness.store import Store
from harness.tables import COLUMNS, absent_rows, long_table


def point(step, values, *, trainer="mle", seed=0, decoder="ancestral", per_step=10, sampled=0):
    """The rows of one measurement."""
    common = {
        "study": "small",
        "trial": f"{trainer}-{seed}",
        "trainer": trainer,
        "task": "letters",
        "decoder": decoder,
        "seed": seed,
        "step": step,
        "n": 4,
        "tokens": step * per_step,
        "generated_tokens": step * sampled,
        "flops": 6.0 * step * per_step,
        "seconds": step / 2 + 1e-5,
        "status": "finished",
    }
    return [{**common, "metric": name, "value": value, "higher_is_better": True} for name, value in values.items()]


def table(*points):
    return long_table([row for rows in points for row in rows])


def curve(trainer="mle", end=40, **options):
    """Accuracy at four points, the step in a hundred, and mauve at the end."""
    steps = [end // 4 * k for k in (1, 2, 3, 4)]
    points = [point(step, {"accuracy": step / 100}, trainer=trainer, **options) for step in steps[:-1]]
    return [*points, point(end, {"accuracy": end / 100, "mauve": 0.5}, trainer=trainer, **options)]


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize(("limit", "step"), [(100, 10), (110, 10), (300, 30), (399.9, None), (345, 30), (400, 40)])
def test_the_last_point_within_the_limit_counts_if_the_budget_was_nearly_spent(limit, step):
    read = at_budget(table(*curve()), "tokens", limit)
    assert list(read) == list(COLUMNS)
    assert (read.dtypes == table(*curve()).dtypes).all()
    if step is None:
        assert read[["metric", "status"]].to_numpy().tolist() == [[None, "missing"]]
        assert read["tokens"].tolist() == [300], "its spending stays visible"
    else:
        row = read[read["metric"] == "accuracy"].iloc[0]
        assert (row["value"], row["step"], row["tokens"], row["status"]) == (step / 100, step, step * 10, "finished")


def test_below_the_first_point_a_trial_is_missing():
    read = at_budget(table(*curve()), "step", 9)
    assert len(read) == 1
    row = read.iloc[0]
    assert (row["trial"], row["trainer"], row["task"], row["decoder"], row["seed"]) == (
        "mle-0",
        "mle",
        "letters",
        "ancestral",
        0,
    )
    assert (row["status"], row["metric"]) == ("missing", None)
    assert row[["value", "step", "tokens", "n"]].isna().all()


@pytest.mark.parametrize(("limit", "counts"), [(400, True), (470, True), (471, False), (500, False), (1e9, False)])
def test_a_training_that_ended_before_is_not_carried_on(limit, counts):
    read = at_budget(table(*curve()), "tokens", limit)
    assert set(read["status"]) == {"finished" if counts else "missing"}
    assert (read["value"].notna().all()) == counts


def test_the_tolerance_is_that_asked_for():
    for tolerance, status in ((0.0, "missing"), (0.5, "finished")):
        assert set(at_budget(table(*curve()), "tokens", 500, tolerance)["status"]) == {status}
    assert set(at_budget(table(*curve()), "tokens", 400, 0.0)["status"]) == {"finished"}
    for tolerance in (-0.1, 1.0, math.nan):
        with pytest.raises(RequestError, match=r"tolerance must lie in \[0, 1\)"):
            at_budget(table(*curve()), "tokens", 500, tolerance)


def test_a_number_that_was_not_measured_there_is_missing_even_if_it_was_at_the_end():
    read = at_budget(table(*curve()), "step", 30).set_index("metric")
    assert read.loc["accuracy", ["value", "status"]].tolist() == [0.3, "finished"]
    assert read.loc["mauve", "status"] == "missing"
    assert math.isnan(read.loc["mauve", "value"])
    assert read.loc["mauve", ["step", "tokens"]].tolist() == [30, 300]
    assert read.loc["mauve", "higher_is_better"]
    assert at_budget(table(*curve()), "step", 40).set_index("metric")["value"].to_dict() == {
        "accuracy": 0.4,
        "mauve": 0.5,
    }


def test_who_never_trains_is_the_same_at_every_budget():
    floor = point(0, {"accuracy": 0.01}, trainer="pretrained")
    for clock in CLOCKS:
        read = at_budget(table(floor, *curve(sampled=3)), clock, 1)
        assert read.loc[read["trainer"] == "pretrained", ["value", "status"]].to_numpy().tolist() == [
            [0.01, "finished"]
        ]
    early = at_budget(table(point(0, {"accuracy": 0.01}), *curve()), "step", 5)
    assert early["status"].tolist() == ["missing"], "step 0 of one that trains is not five steps"


def test_who_never_samples_has_not_spent_a_budget_of_samples():
    read = at_budget(table(*curve(), *curve("sequence_match", sampled=5)), "generated_tokens", 200)
    assert read.groupby("trainer")["status"].first().to_dict() == {"mle": "missing", "sequence_match": "finished"}


def test_failed_and_missing_trials_stay_what_they_are():
    entry = {"study": "small", "trainer": {"name": "x"}, "task": {"name": "letters"}, "seed": 0, "decoders": ["a", "b"]}
    absent = [absent_rows({**entry, "identity": status}, status) for status in ("failed", "missing")]
    read = at_budget(pd.concat([*absent, table(*curve())], ignore_index=True), "tokens", 200)
    assert_frame_equal(read[:4], pd.concat(absent, ignore_index=True))
    assert read["status"].tolist() == [*["failed"] * 2, *["missing"] * 2, "finished", "missing"]


def test_an_empty_table_stays_empty():
    assert at_budget(long_table([]), "tokens", 200).empty


clocks = st.sampled_from(CLOCKS)


@settings(max_examples=50, deadline=None)
@given(
    clocks, st.integers(1, 900), st.lists(st.integers(1, 60), min_size=1, max_size=6, unique=True), st.integers(1, 20)
)
def test_reading_equals_a_search_over_all_points(clock, limit, steps, per_step):
    points = [point(s, {"accuracy": s, **({"odd": s} if s % 2 else {})}, per_step=per_step, sampled=2) for s in steps]
    shuffled = table(*points)
    read = at_budget(shuffled, clock, limit)
    spent = {float(rows[0][clock]): rows for rows in points}
    allowed = [amount for amount in spent if 0.85 * limit <= amount <= limit]
    if not allowed:
        assert read["metric"].tolist() == [None]
        return
    expected = {row["metric"]: row["value"] for row in spent[max(allowed)]}
    found = read[read["status"] == "finished"].set_index("metric")["value"].to_dict()
    assert found == expected
    others = {row["metric"] for rows in points for row in rows} - set(expected)
    assert set(read.loc[read["status"] == "missing", "metric"]) == others


def test_trials_and_decoders_are_read_each_for_itself():
    read = at_budget(
        table(*curve(), *curve("slow", per_step=5), *curve(seed=1, decoder="greedy")), "tokens", 200, tolerance=0.01
    )
    assert read[read["metric"] == "accuracy"][["trainer", "seed", "decoder", "step"]].to_numpy().tolist() == [
        ["mle", 0, "ancestral", 20],
        ["slow", 0, "ancestral", 40],
        ["mle", 1, "greedy", 20],
    ]


def test_decoders_of_one_trial_are_read_apart():
    both = table(*(point(10, {"accuracy": value}, decoder=name) for name, value in (("hot", 0.1), ("cold", 0.2))))
    odd = table(*curve(), point(20, {"only_greedy": 1.0}, decoder="greedy"))
    assert at_budget(both, "step", 10)["value"].tolist() == [0.1, 0.2]
    read = at_budget(odd, "step", 40)
    assert read[["decoder", "metric", "status"]].to_numpy().tolist() == [
        ["ancestral", "accuracy", "finished"],
        ["ancestral", "mauve", "finished"],
        ["greedy", None, "missing"],
    ]


def test_the_leaderboard_shows_what_is_missing_and_does_not_average_over_it():
    rows = [*curve(), *curve(seed=1), *curve(seed=2, per_step=20)]
    text = as_text(leaderboard(at_budget(table(*rows), "tokens", 400), {"letters": ["accuracy", "mauve"]}))
    assert "0.333" in text
    assert "0.400 0.400 0.200" in text
    assert "0.500 (of 2)" in text
    assert "0.500 0.500 missing" in text
    assert "trial missing" not in text
    text = as_text(leaderboard(at_budget(table(*rows), "tokens", 290), {"letters": ["accuracy"]}))
    assert "3 trials missing." in text


def test_what_was_really_spent_is_said():
    both = table(*curve(), *curve("slow", per_step=9), point(0, {"accuracy": 0}, trainer="pretrained"))
    said = spending(at_budget(both, "tokens", 300), "tokens", 300)
    assert "tokens = 300" in said
    assert "90% (slow on letters) to 100% of it; what was not measured within 15% below it is missing" in said
    nothing = spending(at_budget(both, "tokens", 1e6), "tokens", 1e6)
    assert "tokens = 1e+06: no trained policy was measured within 15% below it; [evaluation] points = N" in nothing


def test_budgets_are_parsed():
    assert parse_at("tokens=1e6") == ("tokens", 1e6)
    assert parse_at(" seconds = 12.5") == ("seconds", 12.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tokens", "--at tokens: must look like CLOCK=AMOUNT, for example tokens=1e6"),
        ("token=5", r"--at token=5: unknown clock 'token'; did you mean 'tokens'\? \(valid: flops, generated_tokens"),
        ("value=5", "unknown clock 'value'"),
        ("tokens=many", "--at tokens=many: 'many' is not a number"),
        ("tokens=", "'' is not a number"),
        ("tokens=0", "a budget must be positive and finite, got 0"),
        ("tokens=-1", "got -1"),
        ("flops=nan", "got nan"),
        ("flops=inf", "got inf"),
        ("tokens=1=2", "'1=2' is not a number"),
    ],
)
def test_nonsense_is_refused(text, message):
    with pytest.raises(RequestError, match=message):
        parse_at(text)


def test_the_function_refuses_the_same_nonsense():
    with pytest.raises(RequestError, match="unknown clock 'steps'; did you mean 'step'"):
        at_budget(table(*curve()), "steps", 3)
    with pytest.raises(RequestError, match="positive and finite"):
        at_budget(table(*curve()), "step", 0)


def test_the_command_reads_a_real_study_at_a_budget(tmp_path, command):
    metrics = {"accuracy": {}, "trajectories": {}}
    study = small_study(
        trainers={"pretrained": {}, "mle": {}},
        budget={"steps": 8},
        tasks={"letters": {"use": toy("Letters"), "metrics": metrics}},
        evaluation={"points": 4, "metrics": ["accuracy"]},
    )
    harness.run(study, tmp_path)
    expected = at_budget(Store(tmp_path).evaluations(), "step", 4)
    assert set(expected.loc[(expected["trainer"] == "mle") & (expected["status"] == "finished"), "step"]) == {4}
    code, out, _ = command("leaderboard", tmp_path, "--at", "step=4")
    assert code == 0
    assert "missing missing" in out, "backspace_rate was measured at the end only"
    assert "Read at step = 4" in out
    assert "100% (mle on letters) to 100% of it" in out
    code, _, err = command("leaderboard", tmp_path, "--at", "steps=4")
    assert code == 2
    assert err == (
        "error: --at steps=4: unknown clock 'steps'; did you mean 'step'? "
        "(valid: flops, generated_tokens, seconds, step, tokens)\n"
    )
    assert command("leaderboard", tmp_path).out != out
    code, out, _ = command("compare", tmp_path, "--baseline", "pretrained", "--at", "step=4")
    assert code == 0
    then = expected.set_index(["trainer", "metric", "seed"])["value"].xs("accuracy", level="metric")
    (row,) = [line for line in out.splitlines() if line.startswith("│ accuracy")]
    for trainer in ("pretrained", "mle"):
        assert f"{then[trainer].mean():.3f}" in row
    assert "Read at step = 4" in out
    (tmp_path / "bare.parquet").write_bytes((tmp_path / "results.parquet").read_bytes())
    code, _, err = command("compare", tmp_path / "bare.parquet", "--at", "step=4")
    assert code == 2
    assert "holds no measurements during training" in err
