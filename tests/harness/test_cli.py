import subprocess
import sys
from pathlib import Path

import pytest
from small_studies import small_tables, to_toml, toy

HEAVY = ("torch", "transformers", "pandas", "numpy", "matplotlib", "datasets", "tokenizers", "sklearn")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["leaderboard", "--help"],
        ["doctor", "--help"],
        ["measure", "--help"],
        ["compare", "--help"],
        ["gate", "--help"],
        ["new", "--help"],
        *(["list", kind] for kind in ("trainers", "tasks", "metrics", "studies")),
    ],
)
def test_help_and_list_load_nothing_heavy(arguments):
    code = (
        f"import sys; sys.argv = ['seqmatch', *{arguments}]\n"
        "from harness.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        f"print('LOADED', [name for name in {HEAVY} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith("LOADED []\n")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("trainers", ["pretrained", "sequence_match_backspace", "trainers.mle:MaximumLikelihood", "seqmatch"]),
        ("tasks", ["arithmetic", "text", "language"]),
        (
            "metrics",
            ["mauve", "diversity", "accuracy", "generative_perplexity", "exact", "trajectories", "injected_errors"],
        ),
        ("studies", ["quick", "smollm2", "paper_text", "paper_arithmetic", "LoRA"]),
    ],
)
def test_list_shows_names_and_origins(command, kind, words):
    outcome = command("list", kind)
    assert outcome.code == 0
    assert all(word in outcome.out for word in words)


def test_list_of_something_else_is_a_usage_error(command):
    assert command("list", "things").code == 2


def test_run_prints_the_leaderboard_and_leaderboard_prints_it_again(command, study_file, tmp_path):
    ran = command("run", study_file(), "--out", tmp_path / "out", "--set", "seeds=3")
    assert ran.code == 0
    assert "task letters" in ran.out
    assert "Means over 3 matched seeds" in ran.out
    assert "training 0 s" in ran.out
    assert "[6/6] shift-letters-s2" in ran.err
    again = command("leaderboard", tmp_path / "out")
    assert again.code == 0
    table, _, page = again.out.rpartition("The page is ")
    assert ran.out.startswith(table)
    assert Path(page.strip().removesuffix(".")).is_file()


def test_results_go_to_a_folder_of_the_study_s_name(command, study_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command("run", study_file(trainers={"pretrained": {}}, seeds=1)).code == 0
    assert (tmp_path / "results" / "small" / "results.csv").is_file()


def test_a_failed_trial_gives_exit_code_1_and_the_table(command, study_file, tmp_path):
    outcome = command(
        "run", study_file(), "--out", tmp_path / "out", "--set", "trainers.shift.fault=raise", "--workers", "1"
    )
    assert outcome.code == 1
    assert "1 trial failed." in outcome.out
    assert "RuntimeError: a bug in the trainer" in outcome.err
    assert "Traceback" not in outcome.err


def test_an_interrupt_says_that_the_run_can_go_on(command, study_file, tmp_path):
    outcome = command("run", study_file(), "--out", tmp_path / "out", "--set", "trainers.shift.fault=interrupt")
    assert outcome.code == 130
    assert "finished trials are kept" in outcome.err


@pytest.mark.parametrize(
    ("changes", "overrides", "message"),
    [
        ({"sedes": 2}, [], "small.toml: sedes: unknown key; did you mean 'seeds'?"),
        ({"seeds": 0}, [], "small.toml: seeds must be a number of at least 1"),
        ({"trainers": {"mlee": {}}}, [], "small.toml: trainers.mlee: unknown trainer 'mlee'; did you mean 'mle'?"),
        ({"tasks": {"txet": {}}}, [], "small.toml: tasks.txet: unknown task 'txet'; did you mean 'text'?"),
        ({}, ["metrics.mauv.scaling=3"], "small.toml: metrics.mauv: no task of this study uses it"),
        ({}, ["tasks.letters.metrics.mauv.scaling=3"], "unknown metric 'mauv'; did you mean 'mauve'?"),
        ({}, ["trainers.shift.scael=3"], "small.toml: trainers.shift.scael: unknown key; did you mean 'scale'?"),
        ({}, ["trainers.shift.scale=big"], "trainers.shift.scale: Input should be a valid number; got 'big'"),
        ({}, ["budget.steps"], "--set budget.steps: must look like key.key=value"),
        ({}, ["tasks.letters.overlap=true"], "4 of 4 test examples are also in training"),
        ({}, ["tasks.letters.length=100"], "takes 202 tokens"),
        ({}, ["tasks.letters.fault=empty"], "there is no text"),
    ],
)
def test_bad_input_is_one_message_exit_code_2_and_nothing_written(
    command, study_file, tmp_path, changes, overrides, message
):
    sets = [word for override in overrides for word in ("--set", override)]
    outcome = command("run", study_file(**changes), "--out", tmp_path / "out", *sets)
    assert outcome.code == 2
    *progress, error = outcome.err.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert progress in ([], ["checking task letters"])
    assert outcome.out == ""
    assert not (tmp_path / "out").exists()


def test_an_unwritable_folder_is_said_before_training(command, study_file, tmp_path):
    (tmp_path / "file").touch()
    outcome = command("run", study_file(), "--out", tmp_path / "file" / "out")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"error: cannot write results to {tmp_path}/file/out: {tmp_path}/file is a file\n"


def test_a_damaged_or_absent_results_folder_is_said(command, study_file, tmp_path):
    assert command("leaderboard", tmp_path).err.startswith(f"error: {tmp_path} is no results folder")
    assert command("run", study_file(), "--out", tmp_path / "out").code == 0
    victim = next((tmp_path / "out").glob("trials/*/results.parquet"))
    victim.write_bytes(b"PAR1")
    outcome = command("leaderboard", tmp_path / "out")
    assert outcome.code == 2
    assert f"{victim} cannot be read" in outcome.err


def test_a_dry_run_prints_every_trial_and_touches_neither_data_nor_disk(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tables = {**small_tables(), "model": {"hub": "no/such-model", "lora": {"rank": 64}}}
    tables["tasks"] = {"letters": {"use": toy("Letters"), "fault": "bug"}, "text": {"source": "asset:none"}}
    (tmp_path / "s.toml").write_text(to_toml(tables))
    outcome = command("run", "s.toml", "--dry-run", "--set", "seeds=3")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert len(lines) == 1 + 12 + 1
    assert lines[-1] == "12 trials of study small"
    words = lines[2].split()
    assert (words[1:4], words[4:8], words[8]) == (["shift", "letters", "0"], ["no/such-model", "+", "LoRA", "64"], "3")
    assert len({line.split()[0] for line in lines[1:-1]}) == 12
    assert {path.name for path in tmp_path.iterdir()} == {"s.toml"}


@pytest.mark.parametrize(
    ("name", "count"), [("paper_text", 15), ("paper_arithmetic", 15), ("smollm2", 4), ("quick", 45)]
)
def test_bundled_studies_resolve_in_a_dry_run(command, name, count):
    outcome = command("run", name, "--dry-run")
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1] == f"{count} trials of study {name}"


def test_assets_are_fetched_by_a_command(command, monkeypatch):
    monkeypatch.setattr("harness.assets.fetch", lambda: Path("/some/folder"))
    assert command("assets") == (0, "/some/folder\n", "")
