import json
import math
import re
import subprocess
import sys

import pandas as pd
import pytest
from long_tables import of_values
from stores import forget_digests

from harness.comparison import COLUMNS

BETTER = {"mle": [1.0, 2, 3, 4, 5, 6], "new": [2.0, 3, 5, 6, 7, 9]}


@pytest.fixture
def bare(tmp_path):
    """Two tasks with every kind of number, as somebody else's Parquet file."""
    table = pd.concat(
        [
            of_values(BETTER, metric="up", errors={name: [0.5] * 6 for name in BETTER}),
            of_values(BETTER, metric="neutral", higher_is_better=None),
            of_values(BETTER, task="u|<b>", metric="down", higher_is_better=False),
        ],
        ignore_index=True,
    )
    path = tmp_path / "theirs.parquet"
    table[["trainer", "task", "decoder", "seed", "metric", "value", "sample_error", "higher_is_better"]].to_parquet(
        path
    )
    return path


def line(text, *words):
    (found,) = [each for each in text.splitlines() if all(re.search(rf"(^|\W){word}($|\W)", each) for word in words)]
    return found


def test_a_run_is_compared_by_its_headlines(command, study_file, tmp_path):
    assert command("run", study_file(), "--out", tmp_path / "out", "--set", "seeds=3").code == 0
    outcome = command("compare", tmp_path / "out", "--baseline", "pretrained")
    assert (outcome.code, outcome.err) == (0, "")
    headlines = json.loads((tmp_path / "out" / "study.json").read_text())["headlines"]["letters"]
    for name in headlines:
        assert line(outcome.out, name, "shift", "3")
    assert "undecidable, 6 seeds needed" in line(outcome.out, "accuracy", "shift")
    assert "erased_share" not in outcome.out
    everything = command("compare", tmp_path / "out", "--baseline", "pretrained", "--metric", "all")
    assert "no direction" in line(everything.out, "erased_share")
    some = command("compare", tmp_path / "out", "--metric", "length_mean", "--metric", "accuracy").out
    assert re.findall(r"^│ (\w+)", some, re.MULTILINE) == ["length_mean", "accuracy"]


def test_a_bare_table_is_compared_by_all_its_numbers(command, bare):
    outcome = command("compare", bare)
    assert outcome.code == 0
    up = line(outcome.out, "up ↑")
    assert "5.333 ± 0.50" in up
    assert "3.500 ± 0.50" in up
    assert re.search(r"1\.833 │ \[1\.043, 2\.623\] │ 0\.0312 │ better", up)
    assert "no direction" in line(outcome.out, "neutral")
    assert "worse" in line(outcome.out, "down ↓")
    assert "± ?" in line(outcome.out, "down ↓")
    assert "\n2 tasks\n" in outcome.out
    assert "Not across" not in outcome.out
    assert "up (t), down (u|<b>)" in outcome.out
    assert "No IQM for new under d: there is no pretrained under d to be 0." in outcome.out
    for words in (
        "sample error: one standard error over test samples within a policy (root mean square",
        "seed error: a 95% Student-t interval",
    ):
        assert words in outcome.out
    assert "exact; after Holm's correction" in outcome.out
    assert "undecidable" not in outcome.out


def test_missing_trials_are_said_and_change_the_exit_code(command, tmp_path):
    values = {"mle": [1.0, 2, "failed"], "new": [2.0, "missing", 3]}
    path = tmp_path / "r.csv"
    of_values(values).to_csv(path, index=False)
    outcome = command("compare", path)
    assert outcome.code == 1
    assert re.search(r"│ +1 ! │.*│ +- │ +│ undecidable, 6 seeds needed", line(outcome.out, "score ↑"))
    assert "! t, new, d: not paired: seed 1: new missing; seed 2: mle failed." in outcome.out
    assert "1 trial failed." in outcome.out
    assert "1 trial missing." in outcome.out


def test_missing_numbers_of_one_metric_name_it(command, tmp_path):
    table = pd.concat([of_values({"mle": [1.0], "new": [1.0]}), of_values({"mle": [1.0]}, metric="other")])
    table.to_parquet(tmp_path / "r.parquet")
    outcome = command("compare", tmp_path / "r.parquet")
    assert outcome.code == 0
    assert "! t, new, d (other): not paired: seed 0: new not reported." in outcome.out


def test_a_number_that_alone_is_missing_is_no_missing_trial(command, tmp_path):
    table = of_values({"mle": [1.0, 3.0], "new": [2.0, 5.0]})
    table.loc[3, ["status", "value"]] = ["missing", math.nan]
    table.to_parquet(tmp_path / "r.parquet")
    outcome = command("compare", tmp_path / "r.parquet")
    assert "! t, new, d: not paired: seed 1: new missing." in outcome.out
    assert "trial" not in outcome.out
    assert outcome.code == 0


def test_nothing_but_failures_is_a_table_of_nothing(command, tmp_path):
    of_values({"mle": ["failed"], "new": ["failed"]}).to_parquet(tmp_path / "r.parquet")
    outcome = command("compare", tmp_path / "r.parquet")
    assert outcome.code == 1
    assert "2 trials failed." in outcome.out


def test_a_task_that_is_not_across_tasks_is_said(command, bare, tmp_path):
    silent = of_values(BETTER, task="silent", metric="neutral", higher_is_better=None)
    pd.concat([pd.read_parquet(bare), silent]).assign(status="finished").to_parquet(tmp_path / "r.parquet")
    outcome = command("compare", tmp_path / "r.parquet")
    assert "\n2 tasks\n" in outcome.out
    assert "! Not across tasks: silent, without a value of a number with a direction." in outcome.out


def test_many_pairs_say_that_patterns_were_drawn(command, tmp_path):
    of_values({"mle": list(range(16)), "new": [n + 1 for n in range(16)]}).to_parquet(tmp_path / "r.parquet")
    assert (
        "exact up to 14 pairs and from 19,999 drawn sign patterns above"
        in command("compare", tmp_path / "r.parquet").out
    )


def test_the_comparison_is_written_in_every_format(command, bare, tmp_path):
    frames = []
    for suffix, read in ((".csv", pd.read_csv), (".parquet", pd.read_parquet)):
        assert command("compare", bare, "--out", tmp_path / "new" / f"c{suffix}").code == 0
        frames.append(read(tmp_path / "new" / f"c{suffix}"))
    assert list(frames[0]) == list(COLUMNS)
    assert frames[0].to_csv() == frames[1].to_csv()
    assert frames[1]["verdict"].tolist() == ["better", "no direction", "worse"]
    assert command("compare", bare, "--out", tmp_path / "c.md").code == 0
    text = (tmp_path / "c.md").read_text()
    assert "### task t" in text
    assert r"### task u\|\<b\>" in text
    rows = [each for each in text.splitlines() if each.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", each)) for each in rows[:4]} == {11}
    assert re.search(r"^\| up ↑ \| new \| d \| 6 \| 5.333 ± 0.50 .* \| better \|$", text, re.MULTILINE)
    assert "- p: two-sided sign-flip test" in text


def test_a_name_of_two_lines_stays_in_its_row_of_the_markdown(command, tmp_path):
    of_values({"mle": [1.0, 2.0], "new\n# line": [2.0, 3.0]}).to_parquet(tmp_path / "r.parquet")
    command("compare", tmp_path / "r.parquet", "--out", tmp_path / "c.md")
    assert r"| score ↑ | new \# line | d |" in (tmp_path / "c.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--baseline", "mel"], "unknown baseline 'mel'; did you mean 'mle'?"),
        (["--metric", "pu"], "no metric of the results is called 'pu'; did you mean 'up'?"),
        (["--alpha", "5"], "alpha must lie between 0 and 1, got 5"),
        (["--out", "c.txt"], "--out c.txt: the name must end in .csv, .parquet or .md"),
    ],
)
def test_bad_requests_are_one_line_and_exit_code_2(command, bare, arguments, message):
    outcome = command("compare", bare, *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: ")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_what_is_no_table_is_said(command, tmp_path):
    assert command("compare", tmp_path).err.startswith(f"error: {tmp_path} is no results folder")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    outcome = command("compare", tmp_path / "x.csv")
    assert outcome.code == 2
    assert "is no long table" in outcome.err


def test_results_from_before_sample_errors_are_read(command, study_file, tmp_path):
    assert command("run", study_file(), "--out", tmp_path / "out").code == 0
    for path in (tmp_path / "out").glob("trials/*/results.parquet"):
        pd.read_parquet(path).drop(columns="sample_error").to_parquet(path)
        forget_digests(path.parent)
    outcome = command("compare", tmp_path / "out")
    assert outcome.code == 0
    assert "± ?" in line(outcome.out, "accuracy")


def test_a_run_keeps_the_sample_errors_of_its_metrics(command, study_file, tmp_path):
    assert command("run", study_file(), "--out", tmp_path / "out").code == 0
    table = pd.read_csv(tmp_path / "out" / "results.csv").set_index("metric")
    assert (table["sample_error"].dropna() > 0).all()
    assert table["sample_error"].notna().any()
    assert list(table.columns).index("sample_error") == list(table.columns).index("value") + 1


def test_nothing_heavier_than_tables_is_loaded(bare):
    code = (
        f"import sys; sys.argv = ['seqmatch', 'compare', {str(bare)!r}]\n"
        "from harness.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "heavy = ('torch', 'transformers', 'datasets', 'tokenizers', 'sklearn', 'faiss', 'trainers', 'matplotlib')\n"
        "print('LOADED', [name for name in heavy if name in sys.modules], 'pandas' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith("LOADED [] True\n")
