import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_studies import small_study, toy

import harness
from harness.errors import ComparisonError, RequestError, StoreError
from harness.gate import gate
from harness.gating.pairing import ranges
from harness.tables import long_table

NOISE = (0.0, 0.004, -0.003, 0.002, -0.004, 0.001)


def table(values, **changes):
    """The long table of {(trainer, metric): {seed: value, or a status}}; perplexity is better low, others high."""
    rows = []
    for (trainer, metric), seeds in values.items():
        for seed, value in seeds.items():
            row = {"study": "s", "trial": f"{trainer}{seed}", "trainer": trainer, "task": "t", "decoder": "d"}
            row |= {"seed": seed, "n": 100, **changes}
            direction = {"perplexity": False, "length": None}.get(metric, True)
            if isinstance(value, str):
                rows.append({**row, "status": value})
            else:
                result = {"metric": metric, "value": value, "higher_is_better": direction, "status": "finished"}
                rows.append({**row, **result})
    return long_table(rows)


def shifted(base, shift=0.0):
    return dict(enumerate(base + shift + noise for noise in NOISE))


BASE = {("mle", "accuracy"): shifted(0.5), ("mle", "perplexity"): shifted(2.0)}


def one(values, baseline=BASE, margins=None, **options):
    report = gate(table(values), table(baseline), margins or {"accuracy": 0.02}, **options)
    assert len(report.table) == 1
    return report, report.table.iloc[0]


def moved(shift, spread=1.0, seeds=6):
    """Candidate accuracy: the baseline's with another pattern of noise."""
    return {("mle", "accuracy"): {s: 0.5 + NOISE[s] + shift + spread * NOISE[(s + 2) % 6] for s in range(seeds)}}


@pytest.mark.parametrize(
    ("shift", "spread", "verdict", "code"),
    [(0.0, 1, "ok", 0), (-0.1, 1, "regressed", 1), (-0.02, 1, "inconclusive", 3), (0.0, 30, "inconclusive", 3)],
)
def test_the_three_verdicts(shift, spread, verdict, code):
    report, row = one(moved(shift, spread))
    assert (report.verdict, report.exit_code, row["verdict"]) == (verdict, code, verdict)
    assert (row["seeds"], row["paired"], row["missing"]) == (6, "0-5", "")
    assert row["low"] < row["effect"] < row["high"]
    assert row["effect"] == pytest.approx(row["mean"] - row["baseline_mean"])


def test_lower_is_better_turns_the_difference_round():
    worse = {("mle", "perplexity"): shifted(3.0), ("mle", "accuracy"): shifted(0.5)}
    _, row = one(worse, margins={"perplexity": "5%"})
    assert (row["verdict"], row["margin_text"]) == ("regressed", "5%")
    assert row["effect"] == pytest.approx(-1.0)
    assert row["margin"] == pytest.approx(0.1)
    better = {("mle", "perplexity"): shifted(1.0)}
    assert one(better, margins={"perplexity": 0.01})[1]["verdict"] == "ok"


def test_one_regression_outweighs_all_and_an_open_one_outweighs_ok():
    baseline = table({(name, "accuracy"): shifted(0.5) for name in ("a", "b", "c")})
    candidate = table({("a", "accuracy"): shifted(0.5), ("b", "accuracy"): shifted(0.3), ("c", "accuracy"): {0: 0.5}})
    report = gate(candidate, baseline, {"accuracy": 0.02})
    assert list(report.table["verdict"]) == ["ok", "regressed", "inconclusive"]
    assert report.verdict == "regressed"
    assert report.summary == "regressed (1 regressed, 1 inconclusive, 1 ok)"
    assert gate(candidate, baseline, {"accuracy": 0.02}, trainers=["a", "c"]).verdict == "inconclusive"
    assert gate(candidate, baseline, {"accuracy": 0.02}, trainers=["a"]).verdict == "ok"


def test_pairs_are_matched_by_seed_and_not_by_position():
    """Seeds differ by 1, pairs by nothing: only the right pairing sees that."""
    values = {seed: float(seed) for seed in range(6)}
    backwards = dict(reversed(list(values.items())))
    _, row = one({("mle", "accuracy"): backwards}, {("mle", "accuracy"): values})
    assert (row["verdict"], row["reason"]) == ("ok", "all differences are exactly zero")


@pytest.mark.parametrize("lost", ["failed", "missing", math.nan, math.inf, -math.inf, None])
def test_a_seed_that_the_candidate_lost_cannot_pass_and_is_not_averaged(lost):
    values = moved(0.0)
    values["mle", "accuracy"] |= {3: lost}
    if lost is None:
        del values["mle", "accuracy"][3]
    report, row = one(values)
    word = "absent" if lost is None else lost if isinstance(lost, str) else f"{lost:g}"
    assert (report.exit_code, row["seeds"], row["paired"]) == (3, 5, "0-2, 4-5")
    assert row["missing"] == f"seed 3 {word} in the candidate"
    assert row["reason"] == "ok on the seeds that are left, but the candidate has no value for seed 3"
    assert row["mean"] == pytest.approx(np.mean([values["mle", "accuracy"][s] for s in (0, 1, 2, 4, 5)]))
    assert row["baseline_mean"] == pytest.approx(np.mean([BASE["mle", "accuracy"][s] for s in (0, 1, 2, 4, 5)]))


def test_what_is_left_can_still_prove_a_regression():
    values = moved(-0.2)
    values["mle", "accuracy"][3] = "failed"
    assert one(values)[1]["verdict"] == "regressed"


@pytest.mark.parametrize("lost", ["failed", math.nan, math.inf])
def test_a_seed_that_the_baseline_lacks_is_shown_and_left_out(lost):
    baseline = {("mle", "accuracy"): {**shifted(0.5), 3: lost}}
    _, row = one({("mle", "accuracy"): {**shifted(0.5), 9: 0.1}}, baseline)
    word = lost if isinstance(lost, str) else f"{lost:g}"
    assert (row["verdict"], row["paired"]) == ("ok", "0-2, 4-5")
    assert row["missing"] == f"seed 3 {word} in the baseline; seed 9 absent in the baseline"


def test_a_metric_that_a_finished_trial_did_not_report_is_missing():
    values = {**moved(0.0), ("mle", "perplexity"): shifted(2.0)}
    del values["mle", "accuracy"][2]
    _, row = one(values)
    assert row["missing"] == "seed 2 not reported in the candidate"


def test_a_cell_that_the_candidate_lacks_is_inconclusive():
    report, row = one({("other", "accuracy"): shifted(0.9)})
    assert (report.exit_code, row["verdict"], row["seeds"]) == (3, "inconclusive", 0)
    assert row["reason"] == "no seed has a value on both sides"
    assert row["missing"] == "seeds 0-5 absent in the candidate"
    assert math.isnan(row["mean"])
    assert report.warnings == ("not judged, since the baseline has no value: accuracy of other on t (d), seeds 0-5",)


def test_decoders_and_tasks_are_cells_of_their_own():
    baseline = pd.concat([table(BASE), table(BASE, decoder="greedy"), table(BASE, task="u")], ignore_index=True)
    report = gate(table(BASE), baseline, {"accuracy": 0.02, "perplexity": 0.1})
    assert list(zip(report.table["task"], report.table["decoder"], report.table["metric"], strict=True)) == [
        ("t", "d", "accuracy"),
        ("t", "greedy", "accuracy"),
        ("u", "d", "accuracy"),
        ("t", "d", "perplexity"),
        ("t", "greedy", "perplexity"),
        ("u", "d", "perplexity"),
    ]
    assert list(report.table["verdict"]) == ["ok", "inconclusive", "inconclusive"] * 2
    assert gate(table(BASE), baseline, {"accuracy": 0.02}, tasks=["u"]).verdict == "inconclusive"


def test_seeds_can_be_named():
    _, row = one(moved(0.0, seeds=3), seeds=[0, 2])
    assert (row["paired"], row["missing"]) == ("0, 2", "")


def test_trials_without_seeds_in_common_are_inconclusive():
    _, row = one({("mle", "accuracy"): {seed + 10: 0.5 for seed in range(6)}})
    assert row["reason"] == "no seed has a value on both sides"
    assert row["missing"] == "seeds 0-5 absent in the candidate; seeds 10-15 absent in the baseline"


LENGTH = {**BASE, ("mle", "length"): shifted(9.0)}


@pytest.mark.parametrize(
    ("margins", "options", "message"),
    [
        ({}, {}, r"no margin is given: .* the baseline has accuracy ↑, perplexity ↓$"),
        ({"acuracy": 0.1}, {}, r"margin of 'acuracy': the baseline has no such metric; did you mean 'accuracy'\?"),
        ({"length": 0.1}, {}, "margin of 'length': neither direction of it is better, so it cannot be gated"),
        ({"accuracy": 0}, {}, "margin of 'accuracy': must be a number above 0"),
        ({"accuracy": 0.1}, {"trainers": ["mel"]}, "neither side has the trainer 'mel'; did you mean 'mle'?"),
        ({"accuracy": 0.1}, {"tasks": ["x"]}, r"neither side has the task 'x' \(valid: t\)"),
        ({"accuracy": 0.1}, {"seeds": [7]}, "neither side has the seed '7'"),
        ({"accuracy": 0.1}, {"level": 0.5}, "level must lie between 0.5 and 1, got 0.5"),
        ({"accuracy": 0.1}, {"level": 1}, "level must lie between 0.5 and 1, got 1"),
        ({"accuracy": 0.1}, {"level": math.nan}, "level must lie between 0.5 and 1, got nan"),
    ],
)
def test_what_cannot_be_judged_is_an_error(margins, options, message):
    with pytest.raises(RequestError, match=message):
        gate(table(LENGTH), table(LENGTH), margins, **options)


def test_a_margin_of_which_nothing_can_be_judged_is_an_error():
    baseline = {**BASE, ("mle", "accuracy"): dict.fromkeys(range(6), math.nan)}
    with pytest.raises(RequestError, match="margin of 'accuracy': the baseline has no finite value of it"):
        gate(table(BASE), table(baseline), {"perplexity": 0.1, "accuracy": 0.1})


def test_tables_that_contradict_themselves_or_each_other_are_errors():
    base, twice = table(BASE), pd.concat([table(BASE), table(BASE).iloc[[3]]])
    for candidate, baseline, side in ((twice, base, "candidate"), (base, twice, "baseline")):
        with pytest.raises(
            ComparisonError, match=rf"the {side} has accuracy of mle on t \(d\), seed 3, more than once"
        ):
            gate(candidate, baseline, {"perplexity": 0.1})
    torn = pd.concat([base, table({("mle", "accuracy"): {2: "failed"}})])
    with pytest.raises(ComparisonError, match=r"has mle on t \(d\), seed 2, both as finished and as not"):
        gate(torn, base, {"accuracy": 0.1})
    turned = base.assign(higher_is_better=False)
    with pytest.raises(RequestError, match="margin of 'accuracy': the two sides disagree"):
        gate(turned, base, {"accuracy": 0.1})
    with pytest.raises(RequestError, match="the baseline says of 'accuracy' both"):
        gate(base, pd.concat([base, turned.assign(task="u")]), {"accuracy": 0.1})


def test_a_table_read_at_an_equal_budget_in_which_a_number_alone_is_missing_is_judged():
    """``harness.equal_budget.at_budget`` marks one that was not measured there, beside those that were."""
    alone = table(BASE)
    alone.loc[alone["metric"].eq("accuracy") & alone["seed"].eq(2), ["status", "value"]] = ["missing", math.nan]
    report = gate(alone, table(BASE), {"accuracy": 0.02, "perplexity": 0.1})
    assert list(report.table["missing"]) == ["seed 2 missing in the candidate", ""]
    assert list(report.table["verdict"]) == ["inconclusive", "ok"]


def test_another_number_of_test_examples_is_a_warning():
    report = gate(table(BASE), table(BASE, n=50), {"accuracy": 0.1})
    (warning,) = report.warnings
    assert warning.startswith("task t: the candidate was tested on 100 examples and the baseline on 50")


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_files_give_what_tables_give(tmp_path, suffix):
    """Names that a CSV reader takes for missing, numbers with all their bits, infinities, failures."""
    values = {
        ("NA", "accuracy"): {**shifted(0.5), 6: math.inf},
        ("null", "perplexity"): {**{seed: 1 / (seed + 3) for seed in range(99)}, 99: "failed"},
        ("1", "accuracy"): shifted(0.1),
        ("1", "length"): {0: math.nan},
    }
    written = table(values)
    path = tmp_path / f"results.{suffix}"
    written.to_parquet(path) if suffix == "parquet" else written.to_csv(path, index=False)
    margins = {"accuracy": "1%", "perplexity": 0.01}
    report = gate(path, written, margins)
    assert set(report.table["verdict"]) == {"ok"}
    assert set(report.table["reason"]) == {"all differences are exactly zero"}
    pd.testing.assert_frame_equal(report.table, gate(written, str(path), margins).table)


def test_names_that_look_like_numbers_are_names(tmp_path):
    named = table({("007", "accuracy"): shifted(0.5)}, task="1e3", decoder="0.70")
    named.to_csv(tmp_path / "results.csv", index=False)
    row = gate(tmp_path / "results.csv", named, {"accuracy": 0.1}).table.iloc[0]
    assert (row["trainer"], row["task"], row["decoder"], row["verdict"]) == ("007", "1e3", "0.70", "ok")


def test_old_tables_without_newer_columns_still_serve(tmp_path):
    needed = ["trainer", "task", "decoder", "seed", "metric", "value", "higher_is_better"]
    path = tmp_path / "old.csv"
    table({**BASE, ("mle", "accuracy"): {**shifted(0.5), 6: "failed"}})[needed].to_csv(path, index=False)
    report = gate(table(BASE), path, {"accuracy": 0.02})
    assert report.table.iloc[0]["missing"] == "seed 6 missing in the baseline"
    assert report.verdict == "ok"
    newer = table(BASE).assign(sample_error=0.1, a_column_of_the_future=1)
    assert gate(newer, newer, {"accuracy": 0.02}).verdict == "ok"


def test_what_is_no_table_is_said(tmp_path):
    (tmp_path / "notes.txt").touch()
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    table(BASE).assign(seed="x").to_csv(tmp_path / "seeds.csv", index=False)
    table(BASE).assign(decoder=["d"] * 11 + [None]).to_csv(tmp_path / "names.csv", index=False)
    for name, message in {
        "nowhere": "candidate .*nowhere: does not exist",
        "notes.txt": "is no results folder and no .parquet or .csv file; give the --out of a run, or its",
        "bad.parquet": "candidate .*bad.parquet cannot be read",
        "empty.csv": "candidate .*empty.csv cannot be read",
        "other.csv": "is no long table: it has no column trainer, task",
        "seeds.csv": "candidate .*seeds.csv is no long table: ",
        "names.csv": "candidate .*names.csv is no long table: a row has no decoder",
        "": "is no results folder: it has no study.json",
    }.items():
        with pytest.raises(StoreError, match=message):
            gate(tmp_path / name, table(BASE), {"accuracy": 0.1})
    with pytest.raises(StoreError, match="the table of the baseline is no long table"):
        gate(table(BASE), pd.DataFrame(), {"accuracy": 0.1})


def test_folders_say_which_settings_changed(tmp_path):
    small = small_study(seeds=2)
    harness.run(small, tmp_path / "a")
    harness.run(
        small, tmp_path / "b", overrides=["budget.steps=2", "tasks.letters.length=4", "decoders.greedy.top_k=1"]
    )
    report = gate(tmp_path / "b", tmp_path / "a", {"accuracy": 0.5})
    assert report.changes == ("budget.steps: 3 -> 2 (pretrained on letters, shift on letters)",)
    assert any("measured differently: task.settings.length: 3 -> 4" in line for line in report.warnings)
    assert gate(tmp_path / "b", tmp_path / "a" / "results.csv", {"accuracy": 0.5}).changes == ()
    alone = gate(tmp_path / "b", tmp_path / "a", {"accuracy": 0.5}, trainers=["shift"])
    assert alone.changes == ("budget.steps: 3 -> 2 (shift on letters)",)
    for place, override in (("validation", 'split="validation"'), ("often", "checkpoint_every=1")):
        harness.run(small, tmp_path / place, overrides=[override])
    judged = gate(tmp_path / "validation", tmp_path / "a", {"accuracy": 0.5})
    assert any('measured differently: split: "test" -> "validation"' in line for line in judged.warnings)
    assert judged.changes == gate(tmp_path / "often", tmp_path / "a", {"accuracy": 0.5}).changes == ()
    same = gate(tmp_path / "a", tmp_path / "a", {"accuracy": 0.5})
    assert same.warnings == (f"candidate and baseline are the same place, {tmp_path / 'a'}: nothing is compared",)
    assert same.changes == ()


def test_a_failed_trial_of_a_real_run_blocks_the_gate(tmp_path):
    tables = {"trainers": {"shift": {"use": toy("Shift")}}, "seeds": 3}
    harness.run(small_study(**tables), tmp_path / "a")
    harness.run(
        small_study(**tables), tmp_path / "b", overrides=["trainers.shift.fault=raise", "trainers.shift.fault_seed=1"]
    )
    report = gate(tmp_path / "b", tmp_path / "a", {"accuracy": 0.5})
    row = report.table.iloc[0]
    assert (row["verdict"], row["missing"]) == ("inconclusive", "seed 1 failed in the candidate")
    assert 'trainer.settings.fault: "none" -> "raise" (shift on letters)' in report.changes


@given(st.sets(st.integers(0, 40)))
def test_ranges_name_every_seed_once(seeds):
    named = []
    for part in filter(None, ranges(seeds).split(", ")):
        first, _, last = part.partition("-")
        named += range(int(first), int(last or first) + 1)
    assert named == sorted(seeds)


def test_judging_loads_no_torch(tmp_path):
    table(BASE).to_csv(tmp_path / "a.csv", index=False)
    code = (
        "import sys; from harness.cli import main\n"
        "sys.argv = 'seqmatch gate a.csv --baseline a.csv --margin accuracy=0.1 --junit j.xml'.split()\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "print([name for name in ('torch', 'transformers', 'datasets', 'faiss', 'sklearn') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith("[]\n")
