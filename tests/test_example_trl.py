"""The example package of trl's trainers as a user has it: installed by pip into an environment of its own."""

import pandas as pd
import pytest
from environments import ROOT, Environment, environment

EXAMPLE = ROOT / "examples" / "seqmatch-trl"
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def installed(pytestconfig):
    return environment(pytestconfig, "seqmatch-trl", EXAMPLE)


@pytest.fixture(scope="module")
def finished(installed: Environment, tmp_path_factory):
    """The study of the example: its results folder, and what the command printed."""
    folder = tmp_path_factory.mktemp("trl")
    run = installed.python("-m", "harness", "run", EXAMPLE / "study.toml", "--out", folder / "results", cwd=folder)
    assert run.returncode == 0, run.stderr
    return folder / "results", run.stdout


def test_the_environment_has_a_trl_of_its_own_and_no_second_torch(installed):
    own = {path.name for path in installed.packages.iterdir()}
    assert {"trl", "seqmatch_trl"} <= own
    assert not own & {"torch", "transformers", "nvidia"}


def test_its_trainers_are_listed_with_distribution_and_version(installed, tmp_path):
    run = installed.python("-m", "harness", "list", "trainers", cwd=tmp_path, variables={"COLUMNS": "200"})
    assert run.returncode == 0, run.stderr
    for name, target in (("sft", "seqmatch_trl.sft:SFT"), ("gkd", "seqmatch_trl.gkd:GKD")):
        (line,) = [line for line in run.stdout.splitlines() if target in line]
        assert [cell.strip() for cell in line.split("│")[1:-1]] == [name, target, "seqmatch-trl 0.1.0"]


def test_its_study_runs_to_a_finished_table(finished):
    folder, printed = finished
    table = pd.read_parquet(folder / "results.parquet")
    assert set(table["status"]) == {"finished"}
    trainers = ["mle", "sft", "dft", "gkd"]
    assert sorted(table.groupby(["trainer", "seed"]).groups) == sorted(
        (name, seed) for name in trainers for seed in (0, 1)
    )
    assert [name for line in printed.splitlines() for name in trainers if line.startswith(f"│ {name} ")] == trainers


def test_sft_is_maximum_likelihood_in_every_number_of_the_table(finished):
    table = pd.read_parquet(finished[0] / "results.parquet").set_index(["seed", "metric"])
    ours, theirs = (table[table["trainer"] == name] for name in ("mle", "sft"))
    for seed in (0, 1):
        for metric in ("kl_forward", "invalid_mass", "perplexity"):
            assert theirs.loc[(seed, metric), "value"] == pytest.approx(ours.loc[(seed, metric), "value"], rel=1e-3)
        assert theirs.loc[(seed, "perplexity"), "tokens"] == ours.loc[(seed, "perplexity"), "tokens"]


def test_its_own_tests_pass_there(installed, tmp_path):
    run = installed.python("-m", "pytest", "-q", "-rP", "-p", "no:cacheprovider", EXAMPLE, cwd=tmp_path)
    assert run.returncode == 0, run.stdout
    assert run.stdout.count("largest difference of the losses over 20 optimiser steps") == 2


@pytest.mark.parametrize("name", ["sft", "gkd"])
def test_the_conformance_kit_has_nothing_to_say_against_it(installed, tmp_path, name):
    run = installed.python("-m", "harness", "check", "trainer", name, "--tier", "quick", cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
