import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from small_studies import small_study, small_tables, toy
from stores import forget_digests

import harness
from harness.errors import StoreError, StudyError
from harness.remeasuring import remeasure
from harness.store import Store
from harness.tables import COLUMNS

EVERYTHING = ["accuracy", "diversity", "exact", "perplexity", "trajectories", "mauve"]
KEY = ["trial", "decoder", "metric"]


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def everything(llama: str) -> dict:
    """A study of two real tasks, one of them with a language, that uses every metric and keeps its policies."""
    fresh = {**small_tables()["model"]["fresh"], "max_position_embeddings": 64}
    shared = {name: {} for name in EVERYTHING if name not in ("exact", "mauve")}
    mauve = {"model": llama, "max_tokens": 8, "clusterings": 2, "clusters": 4}
    arithmetic = {"train": 40, "test": 60, "min_base": 6, "max_base": 6, "max_digits": 2, "answer_tokens": 6}
    return small_tables() | {
        "seeds": 1,
        "save_policies": True,
        "model": {"fresh": fresh},
        "decoders": {"plain": {}, "cold": {"temperature": 0.5, "backspace_bias": 2.0}},
        "trainers": {"mle": {}, "sequence_match_backspace": {}},
        "tasks": {
            "arithmetic": {**arithmetic, "metrics": shared | {"mauve": mauve}},
            "language": {"metrics": shared | {"exact": {}}},
        },
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory, llama):
    from harness.study import Study

    out = tmp_path_factory.mktemp("finished")
    harness.run(Study(**everything(llama)), out)
    return out


@pytest.fixture
def own(finished, tmp_path):
    """A copy that the test may break."""
    return Path(shutil.copytree(finished, tmp_path / "own"))


@pytest.fixture(scope="module")
def small_finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("small")
    harness.run(small_study(), out)
    return out


@pytest.fixture
def small(small_finished, tmp_path):
    return Path(shutil.copytree(small_finished, tmp_path / "small"))


@pytest.mark.parametrize("name", [name for name in EVERYTHING if name != "mauve"])
def test_measured_rows_equal_those_of_the_run_and_nothing_else_changes(own, name):
    before = contents(own)
    original = harness.load_results(own)
    found = remeasure(own, name)
    table, path = found.table, found.path
    assert list(table) == list(COLUMNS)
    again = table.merge(original[KEY], on=KEY)
    reported = {"exact": "kl_forward", "diversity": "rep_2", "trajectories": "erased_share"}
    tasks = ["language"] if name == "exact" else ["arithmetic", "language"]
    wanted = original[original["metric"].isin(again["metric"])].reset_index(drop=True)
    assert reported.get(name, name) in set(again["metric"])
    assert list(dict.fromkeys(again["task"])) == tasks
    assert_frame_equal(again, wanted)
    assert path == own / f"measured-{name}.parquet"
    stored = pd.read_parquet(path)
    assert_frame_equal(harness.tables.long_table(stored), table)
    assert stored.attrs["metric"] == name
    after = contents(own)
    assert after.keys() - before.keys() == {path.name}
    assert {file: after[file] for file in before} == before


def test_a_metric_that_the_study_did_not_use_is_measured_with_its_defaults(small, command):
    assert "rep_2" not in set(harness.load_results(small)["metric"])
    outcome = command("measure", small, "--metric", "diversity")
    assert outcome.code == 0
    assert "rep_2 ↓" in outcome.out
    assert outcome.out.endswith(f"Values are in {small}/measured-diversity.parquet.\n")
    table = pd.read_parquet(small / "measured-diversity.parquet")
    results = harness.load_results(small)
    assert list(dict.fromkeys(table["trial"])) == list(dict.fromkeys(results["trial"]))
    wrote = Store(small).generations(Store(small).specified()[0])["completion_ids"]
    tokens = [token for text in wrote for token in text]
    found = table[(table["trial"] == results["trial"].iloc[0]) & (table["metric"] == "distinct_1")]
    assert found["value"].tolist() == [len(set(tokens)) / len(tokens)]
    assert set(table["n"]) == {4}


def test_settings_are_those_of_the_study_unless_they_are_overridden(own):
    first = remeasure(own, "mauve", ["clusters=2", "scaling=1"])
    stored = pd.read_parquet(first.path).attrs["settings"]["arithmetic"]
    assert (stored["clusters"], stored["scaling"], stored["max_tokens"], stored["clusterings"]) == (2, 1.0, 8, 2)
    second = remeasure(own, "mauve")
    assert pd.read_parquet(second.path).attrs["settings"]["arithmetic"]["clusters"] == 4
    measured = [found.table.query("metric == 'mauve'")["value"].tolist() for found in (first, second)]
    assert measured[0] != measured[1]


def test_a_metric_of_a_file_and_an_alias_of_the_study_are_names_too(tmp_path):
    tasks = {"letters": {"use": toy("Letters"), "metrics": {"mine": {"use": toy("Threads")}}}}
    harness.run(small_study(tasks=tasks, threads=2), tmp_path)
    for name, file in (("mine", "mine"), (toy("Threads"), "toys-Threads")):
        found = remeasure(tmp_path, name)
        table = found.table
        assert found.path.name == f"measured-{file}.parquet"
        seeds = [harness.seeding.axis_seed(seed, "metric") for seed in (0, 1)]
        assert sorted(set(table.loc[table["metric"] == "metric_seed", "value"])) == sorted(seeds)
        assert set(table.loc[table["metric"] == "threads", "value"]) == {2}


def test_a_name_that_is_near_to_one_of_the_study_is_suggested(tmp_path, command):
    tasks = {"letters": {"use": toy("Letters"), "metrics": {"my_threads": {"use": toy("Threads")}}}}
    harness.run(small_study(tasks=tasks), tmp_path)
    outcome = command("measure", tmp_path, "--metric", "my_thread")
    assert "unknown metric 'my_thread'; did you mean 'my_threads'? (valid: accuracy, diversity" in outcome.err


def test_a_policy_that_was_not_saved_is_an_error_that_says_which_and_what_to_do(small, command):
    first = Store(small).specified()[0].label
    outcome = command("measure", small, "--metric", "perplexity")
    assert (outcome.code, outcome.out) == (2, "")
    assert f"needs the policy of {first}, which was not saved" in outcome.err
    assert "save_policies = true" in outcome.err
    assert not (small / "measured-perplexity.parquet").exists()


def test_one_policy_that_is_gone_is_found_before_anything_is_measured(own, command):
    last = Store(own).specified()[-1]
    shutil.rmtree(own / "trials" / last.label / "policy")
    outcome = command("measure", own, "--metric", "perplexity")
    assert outcome.code == 2
    assert last.label in outcome.err
    assert "started" not in outcome.err


def test_a_damaged_policy_names_the_file_and_what_to_do(own):
    folder = own / "trials" / Store(own).specified()[0].label
    (folder / "policy" / "model.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(StoreError, match=re.escape(f"{folder}/policy/model.safetensors cannot be read")):
        remeasure(own, "perplexity")


def test_a_task_without_a_language_is_left_out_and_said(own, command):
    outcome = command("measure", own, "--metric", "exact")
    assert outcome.code == 0
    for shown in (outcome.err, outcome.out):
        assert shown.count("task arithmetic is left out: metric 'exact' needs a task whose language") == 1
    assert set(pd.read_parquet(own / "measured-exact.parquet")["task"]) == {"language"}


def test_one_task_is_measured_as_among_all_and_the_others_are_left_out(own):
    everything = remeasure(own, "diversity").table
    found = remeasure(own, "diversity", tasks=["language"])
    assert_frame_equal(found.table, everything[everything["task"] == "language"].reset_index(drop=True))
    assert found.table.attrs["settings"].keys() == {"language"}


@pytest.mark.parametrize("name", [toy("NeedsLanguage"), "injected_errors"])
def test_a_metric_for_none_of_the_tasks_is_an_error(small, name):
    with pytest.raises(
        StudyError, match=r"no finished trial of .* has what the metric needs: task letters is left out"
    ):
        remeasure(small, name)


def test_trials_for_which_a_metric_reports_nothing_are_rows_and_said(small, command):
    outcome = command("measure", small, "--metric", toy("Threads"), "--set", 'fault="nothing"')
    assert outcome.code == 0
    table = remeasure(small, toy("Threads"), ['fault="nothing"']).table
    assert_frame_equal(harness.tables.long_table(table), table)
    labels = [trial.label for trial in Store(small).specified()]
    assert table["trial"].tolist() == [trial.identity for trial in Store(small).specified()]
    assert set(table["metric"]) == {None}
    assert (table["status"] == "finished").all()
    for label in labels:
        assert f"{label} under ancestral: metric {toy('Threads')!r} reports no number\n" in outcome.out
    assert command("leaderboard", small).code == 0


def test_a_decoder_without_a_distribution_is_left_out_and_said(tmp_path, command):
    decoders = {"plain": {}, "contrastive": {"penalty_alpha": 0.6, "top_k": 2}}
    changes = {"trainers": {"mle": {}}, "tasks": {"language": {"metrics": {"trajectories": {}}}}, "seeds": 1}
    harness.run(small_study(decoders=decoders, save_policies=True, **changes), tmp_path)
    outcome = command("measure", tmp_path, "--metric", "exact")
    assert outcome.code == 0
    label = Store(tmp_path).specified()[0].label
    assert f"{label} under contrastive: this decoder has no distribution over actions to compute with\n" in outcome.out
    table = pd.read_parquet(tmp_path / "measured-exact.parquet")
    assert table.loc[table["decoder"] == "contrastive", "metric"].isna().tolist() == [True]
    assert "kl_forward" in set(table.loc[table["decoder"] == "plain", "metric"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric", "mauv"], "unknown metric 'mauv'; did you mean 'mauve'?"),
        (["--metric", "mauve", "--set", "permutations=0"], "metric 'mauve': Mauve: permutations must be at least 1"),
        (
            ["--metric", "mauve", "--set", "clusterz=3"],
            "metric 'mauve': clusterz: unknown key; did you mean 'clusters'?",
        ),
        (["--metric", "mauve", "--set", "scaling=big"], "metric 'mauve': scaling: Input should be a valid number"),
        (["--metric", "mauve", "--set", "clusterings=0"], "metric 'mauve': Mauve: clusterings must be at least 1"),
        (["--metric", "mauve", "--set", "clusters"], "--set clusters: must look like key.key=value"),
        (["--metric", "mauve", "--set", "model=x"], "needs at least 50 test examples, and there are 4"),
    ],
)
def test_what_cannot_be_measured_is_one_message_and_nothing_is_written(small, command, arguments, message):
    before = contents(small)
    outcome = command("measure", small, *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines()[-1].startswith("error: ")
    assert message in outcome.err.splitlines()[-1]
    assert contents(small) == before


def test_a_number_that_is_none_names_the_trial_and_the_old_table_stays(small, command):
    name = toy("Threads")
    assert command("measure", small, "--metric", name).code == 0
    old = (small / "measured-toys-Threads.parquet").read_bytes()
    outcome = command("measure", small, "--metric", name, "--set", 'fault="nan"')
    assert outcome.code == 2
    assert f"error: {Store(small).specified()[0].label}: metric {name!r}" in outcome.err
    assert (small / "measured-toys-Threads.parquet").read_bytes() == old


def test_a_write_that_fails_is_an_error_and_leaves_the_old_table(small, command, monkeypatch):
    assert command("measure", small, "--metric", "diversity").code == 0
    before = contents(small)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    outcome = command("measure", small, "--metric", "diversity")
    assert outcome.code == 2
    assert f"cannot write results to {small}" in outcome.err
    assert contents(small) == before


def test_trials_without_results_are_rows_and_exit_code_1(command, study_file, tmp_path):
    out = tmp_path / "out"
    command("run", study_file(), "--out", out, "--set", "trainers.shift.fault=raise")
    victim = Store(out).specified()[2]
    shutil.rmtree(out / "trials" / victim.label)
    outcome = command("measure", out, "--metric", "accuracy")
    assert outcome.code == 1
    table = pd.read_parquet(out / "measured-accuracy.parquet")
    assert table["status"].tolist() == ["finished", "failed", "missing", "finished"]
    assert "1 trial failed." in outcome.out
    assert table["trial"].tolist() == [trial.identity for trial in Store(out).specified()]


def test_a_folder_without_a_finished_trial_is_an_error(command, study_file, tmp_path):
    assert "is no results folder" in command("measure", tmp_path, "--metric", "accuracy").err
    out = tmp_path / "out"
    trainers = {"shift": {"use": toy("Shift"), "fault": "raise"}}
    assert command("run", study_file(trainers=trainers, seeds=1), "--out", out).code == 1
    outcome = command("measure", out, "--metric", "accuracy")
    assert outcome.code == 2
    assert f"no trial of {out} is finished" in outcome.err


def test_generations_that_are_damaged_name_the_file(small):
    victim = next(small.glob("trials/*/generations.parquet"))
    victim.write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=f"{victim} cannot be read"):
        remeasure(small, "accuracy")


@pytest.mark.parametrize("column", ["decoder", "prompt", "reference"])
def test_generations_without_a_column_name_the_file(small, column):
    victim = next(small.glob("trials/*/generations.parquet"))
    pd.read_parquet(victim).drop(columns=column).to_parquet(victim)
    forget_digests(victim.parent)
    with pytest.raises(
        StoreError, match=f"{victim} cannot be read .it has no column {column}.: delete {victim.parent}"
    ):
        remeasure(small, "accuracy")


def test_a_task_that_has_changed_since_is_an_error(tmp_path, monkeypatch):
    from harness.preparation import _prepare

    source = Path(toy("Letters").rpartition(":")[0])
    plugin = tmp_path / "mine.py"
    plugin.write_text(source.read_text())
    out = tmp_path / "out"
    harness.run(small_study(tasks={"letters": {"use": f"{plugin}:Letters"}}), out)
    remeasure(out, "accuracy")
    for old, new in (
        ('"completion": answers', '"completion": answers[::-1]'),
        ('"prompt": prompts', '"prompt": words[::-1]'),
    ):
        plugin.write_text(source.read_text().replace(old, new))
        _prepare.cache_clear()
        with pytest.raises(StoreError, match="task 'letters' has other test examples now than pretrained-letters-s0"):
            remeasure(out, "accuracy")


def test_a_task_that_cannot_be_prepared_is_one_message(tmp_path, command):
    from harness.preparation import _prepare

    plugin = tmp_path / "mine.py"
    plugin.write_text(Path(toy("Letters").rpartition(":")[0]).read_text())
    harness.run(small_study(tasks={"letters": {"use": f"{plugin}:Letters"}}), tmp_path / "out")
    faulty = plugin.read_text().replace('RuntimeError("a bug', 'OSError("no').replace('== "bug"', '== "none"')
    for source, message in (
        ("raise OSError('the disk is gone')", "cannot be loaded: OSError: the disk is gone"),
        (faulty, "task 'letters': no in the task"),
        (None, f"there is no file {plugin}"),
    ):
        plugin.write_text(source) if source else plugin.unlink()
        _prepare.cache_clear()
        outcome = command("measure", tmp_path / "out", "--metric", "trajectories")
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.splitlines()[-1].startswith("error: ")
        assert message in outcome.err.splitlines()[-1]


@pytest.mark.parametrize("change", [{"surprise": 1}, {"threads": None}, {"seed": 9}])
def test_a_study_of_another_version_is_an_error(small, change):
    path = small / "study.json"
    content = json.loads(path.read_text())
    trial = content["trials"][0]
    content["trials"][0] = {name: value for name, value in {**trial, **change}.items() if value is not None}
    if "surprise" in change:
        trial["task"]["surprise"] = 1
        content["trials"][0] = trial
    path.write_text(json.dumps(content))
    with pytest.raises(StoreError, match="was written by another version of seqmatch: run the study again"):
        remeasure(small, "accuracy")
