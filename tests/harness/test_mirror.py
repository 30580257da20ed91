"""Results folders at a URL, here of files: what is at the URL, in which mirror, and through faults of either."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from faults import run_and_die
from small_studies import small_study, small_tables, to_toml, toy
from stateful import equal, stateful_study
from stores import forget_digests
from test_launch import TRAINING, curve, launched

import harness
from harness.errors import RequestError, StoreError, StudyError
from harness.gate import gate
from harness.mirror import Mirror
from harness.mirrored_trial import PUSHED
from harness.places import mirror_at, opened, place_of
from harness.remeasuring import remeasure
from harness.remote_files import RemoteFiles
from harness.study import Study

PUT = "harness.remote_files:RemoteFiles.put"
STEP = "torch.optim:AdamW.step"


def study(**changes: object) -> Study:
    tables = {"seeds": 1, "save_policies": True, "budget": {"steps": 2}, "trainers": {"mle": {}, "pretrained": {}}}
    tasks = {"letters": {"use": toy("Letters"), "metrics": {"accuracy": {}, "perplexity": {}}}}
    return small_study(**{**tables, "tasks": tasks, **changes})


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The folder that the URL is of."""
    return tmp_path / "there" / "run"


@pytest.fixture
def url(there: Path) -> str:
    return f"file://{there}"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Go to another machine, as far as mirrors are concerned."""
    machines = iter(range(1000))

    def go() -> None:
        monkeypatch.setenv("SEQMATCH_RESULTS_CACHE", str(tmp_path / f"machine{next(machines)}"))

    return go


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def timeless(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="seconds")


def forbid_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.engine.execute", lambda *_: pytest.fail("a trial was run"))


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_run_by_url_is_a_run_in_a_folder(workers, url, there, tmp_path):
    by_url = harness.run(study(), url, workers=workers)
    in_folder = harness.run(study(), tmp_path / "out")
    pd.testing.assert_frame_equal(timeless(by_url), timeless(in_folder))
    assert files(there) == files(tmp_path / "out") - {".lock"}
    for folder in (there, tmp_path / "out"):  # what is at the URL is a results folder, as a copy of it would be
        pd.testing.assert_frame_equal(timeless(harness.load_results(folder)), timeless(by_url))


def test_what_is_finished_is_not_run_again_elsewhere(url, elsewhere, monkeypatch, capsys):
    first = harness.run(study(), url)
    elsewhere()
    forbid_training(monkeypatch)
    pd.testing.assert_frame_equal(harness.run(study(), url), first)
    assert "2 trials were finished before" in capsys.readouterr().err


def test_every_command_that_reads_takes_a_url_and_policies_come_when_they_are_needed(
    url, there, elsewhere, command, tmp_path
):
    table = harness.run(study(seeds=2), url)
    elsewhere()
    pd.testing.assert_frame_equal(harness.load_results(url), table)
    for place in (url, f"{url}/", f"{url}/results.parquet", f"{url}/results.csv"):
        assert gate(place, there, {"accuracy": 0.1}).verdict == "ok"
    command("list", "tasks")  # what the run printed is of no interest
    compared = [command("compare", place, "--baseline", "mle") for place in (url, there)]
    assert compared[0].code == 0
    assert compared[0] == compared[1]
    board = command("leaderboard", url)
    assert board.code == 0
    assert board.out.endswith(f"leaderboard.html.\nIt is {url}/leaderboard.html too.\n")
    assert (there / "leaderboard.html").read_text().startswith("<!DOCTYPE html>")
    mirror = Mirror(url).folder
    assert not list(mirror.glob("trials/*/policy"))
    measured = command("measure", url, "--metric", "perplexity")
    assert measured.code == 0, measured.err
    assert measured.out.endswith(f"Values are in {url}/measured-perplexity.parquet.\n")
    assert len(list(mirror.glob("trials/*/policy/model.safetensors"))) == 4
    measured_there = (there / "measured-perplexity.parquet").read_bytes()
    assert measured_there == (mirror / "measured-perplexity.parquet").read_bytes()
    elsewhere()
    published = command("publish", url, str(tmp_path / "publication"))
    assert published.code == 0, published.err
    assert (tmp_path / "publication" / "measured-perplexity.parquet").read_bytes() == measured_there


def test_the_command_prints_the_url_and_is_said_what_is_not_there(url, command, study_file):
    outcome = command("leaderboard", url)
    assert outcome.err == f"error: {url} is no results folder: it has no study.json; give the --out of a run\n"
    outcome = command("gate", f"{url}/x.csv", "--baseline", url, "--margin", "accuracy=1")
    assert outcome.err.startswith(f"error: {url}/x.csv does not exist")
    outcome = command("run", study_file(), "--out", url)
    assert f"Results are in {url}; as a page: seqmatch leaderboard {url}\n" in outcome.out


MOMENTS = {
    "twice in training": [(STEP, 3, "before"), (STEP, 2, "after")],
    "before the first checkpoint is pushed": [(PUT, 3, "before")],
    "in writing a checkpoint": [("safetensors.torch:save_file", 2, "half")],
    "in writing the study there, before its file has its name": [("shutil:move", 2, "before")],
    "in writing a checkpoint there, before its file has its name": [("shutil:move", 4, "before")],
    "in the middle of pushing a trial": [(PUT, 9, "after")],
    "in reading the checkpoint of another machine": [
        (STEP, 4, "after"),
        ("harness.mirror:Mirror.pull_checkpoint", 1, "after"),
    ],
    "in pulling trials of another machine": [(STEP, 9, "after"), ("harness.remote_files:RemoteFiles.get", 3, "after")],
}


@pytest.mark.parametrize("moments", MOMENTS.values(), ids=MOMENTS)
def test_a_killed_study_goes_on_elsewhere_to_the_table_of_one_that_was_not(
    moments, llama, whole, url, there, elsewhere
):
    for function, call, moment in moments:
        assert run_and_die(stateful_study(llama), url, function, call, moment), "it was not killed there"
        elsewhere()
    harness.run(stateful_study(llama), url)
    equal(there, whole, stateful_study(llama))


@pytest.mark.long
@pytest.mark.parametrize("function", [PUT, "harness.remote_files:RemoteFiles.remove"])
def test_a_study_that_is_killed_at_every_change_of_the_url_each_time_elsewhere_ends_the_same(
    function, llama, whole, url, there, elsewhere
):
    change = 1
    while run_and_die(stateful_study(llama), url, function, change):
        change += 1
        elsewhere()
        if (there / "study.json").exists():
            harness.load_results(url)
        elsewhere()
        assert change < 60
    assert change >= 4
    equal(there, whole, stateful_study(llama))


def test_a_killed_trial_goes_on_elsewhere_from_its_checkpoint_to_the_same_table(
    llama, whole, url, there, elsewhere, monkeypatch
):
    import torch

    assert run_and_die(stateful_study(llama), url, STEP, 5, "after")
    elsewhere()
    steps = []
    original = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda *a, **k: (steps.append(1), original(*a, **k))[1])
    harness.run(stateful_study(llama), url)
    assert len(steps) == 2 + 6
    equal(there, whole, stateful_study(llama))


def test_a_trial_whose_push_is_interrupted_is_absent_there_and_pushed_by_the_next_run(
    url, there, elsewhere, monkeypatch
):
    """Before any of its files, and last before its record. The first two writes are a probe and the study."""
    one, put = study(trainers={"pretrained": {}}, save_policies=False), 3
    elsewhere()
    while run_and_die(one, url, PUT, put, "before") and not list(there.glob("trials/*/trial.json")):
        here = os.environ["SEQMATCH_RESULTS_CACHE"]
        elsewhere()
        assert set(harness.load_results(url)["status"]) == {"missing"}
        with monkeypatch.context() as patch:
            patch.setenv("SEQMATCH_RESULTS_CACHE", here)
            forbid_training(patch)
            assert set(harness.run(one, url)["status"]) == {"finished"}
        assert set(harness.load_results(url)["status"]) == {"finished"}
        assert not list(there.rglob(".tmp-*"))
        shutil.rmtree(there)
        elsewhere()
        put += 1
    assert put == 3 + 5


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("file", "damage", "wrong"),
    [
        ("results.parquet", truncate, "damaged or was edited"),
        ("generations.parquet", truncate, "damaged or was edited"),
        ("curve.parquet", Path.unlink, "missing"),
        ("trial.json", truncate, "Unterminated string|Expecting"),
        ("policy/model.safetensors", truncate, "damaged or was edited"),
        ("policy/config.json", Path.unlink, "missing"),
    ],
)
def test_a_file_that_is_damaged_there_is_an_error_that_names_it(file, damage, wrong, url, there, elsewhere):
    harness.run(study(trainers={"mle": {}}), url)
    (trial,) = there.glob("trials/*")
    damage(trial / file)
    elsewhere()
    with pytest.raises(StoreError) as caught:
        remeasure(url, "perplexity")
    assert str(caught.value).startswith(f"file://{trial / file} cannot be read (")
    assert any(words in str(caught.value) for words in wrong.split("|"))
    assert str(caught.value).endswith(f": delete file://{trial} and run the study again")
    assert not list(Mirror(url).folder.glob("trials/*/policy"))
    shutil.rmtree(trial)
    assert set(harness.run(study(trainers={"mle": {}}), url)["status"]) == {"finished"}
    elsewhere()
    remeasure(url, "perplexity")


def test_a_file_that_is_damaged_in_the_mirror_is_fetched_again(url):
    table = harness.run(study(), url)
    for path in Mirror(url).folder.glob("trials/*/results.parquet"):
        truncate(path)
    pd.testing.assert_frame_equal(harness.load_results(url), table)


def test_what_is_deleted_there_is_run_again(url, there):
    one = study(trainers={"shift": {"use": toy("Shift"), "fault": "raise"}, "mle": {}})
    first = harness.run(one, url)
    assert dict(zip(first["trainer"], first["status"], strict=True)) == {"shift": "failed", "mle": "finished"}
    (trial,) = there.glob("trials/mle-*")
    before = files(trial)
    shutil.rmtree(trial)
    table = harness.load_results(url)
    assert set(table["status"][table["trainer"] == "mle"]) == {"missing"}
    harness.run(one, url)
    assert files(trial) == before
    pd.testing.assert_frame_equal(timeless(harness.load_results(url)), timeless(first))


def test_what_another_machine_mends_there_is_taken(url, there, elsewhere, monkeypatch):
    one = study(trainers={"mle": {}})
    table = harness.run(one, url)
    (trial,) = there.glob("trials/*")
    failing(trial)
    elsewhere()
    assert set(harness.load_results(url)["status"]) == {"failed"}
    here = os.environ["SEQMATCH_RESULTS_CACHE"]
    elsewhere()
    mended = harness.run(one, url)
    assert set(mended["status"]) == {"finished"}
    monkeypatch.setenv("SEQMATCH_RESULTS_CACHE", here)
    forbid_training(monkeypatch)
    pd.testing.assert_frame_equal(harness.run(one, url), mended)
    pd.testing.assert_frame_equal(timeless(mended), timeless(table))


def test_a_failed_trial_that_another_machine_has_finished_is_taken_though_it_was_not_pushed(url, there):
    table = harness.run(study(), url)
    (label,) = [path.name for path in there.glob("trials/mle-*")]
    folder = Mirror(url).folder / "trials" / label
    record = json.loads((folder / "trial.json").read_bytes())
    for file in folder.iterdir():
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    (folder / "trial.json").write_text(json.dumps({**record, "status": "failed", "files": {}}))
    pd.testing.assert_frame_equal(harness.load_results(url), table)


def test_what_could_not_be_written_there_is_said_kept_and_written_by_the_next_run(url, there, monkeypatch):
    """The URL breaks while a trial trains: a file is where its folder was."""
    from harness import engine

    original = engine.execute

    def break_and_execute(*arguments):
        result = original(*arguments)
        there.rename(there.with_name("away"))
        there.touch()
        return result

    one = study(trainers={"pretrained": {}})
    with monkeypatch.context() as patch:
        patch.setattr("harness.engine.execute", break_and_execute)
        with pytest.raises(StoreError) as caught:
            harness.run(one, url)
    mirror = Mirror(url).folder
    assert str(caught.value).startswith(f"cannot write {url}/trials/pretrained-")
    assert f"what is finished is kept in {mirror}; run again, which writes the rest" in str(caught.value)
    assert "\n" not in str(caught.value)
    there.unlink()
    there.with_name("away").rename(there)
    assert not list(there.glob("trials/*/trial.json"))
    forbid_training(monkeypatch)
    harness.run(one, url)
    assert len(list(there.glob("trials/*/trial.json"))) == 1


def test_a_checkpoint_that_cannot_be_written_there_is_said_and_does_not_end_the_training(
    llama, whole, url, there, monkeypatch, capsys
):
    from harness import engine

    original = engine.execute

    def execute_without_checkpoints(*arguments):
        (there / "checkpoints").touch()
        result = original(*arguments)
        (there / "checkpoints").unlink()
        return result

    monkeypatch.setattr("harness.engine.execute", execute_without_checkpoints)
    harness.run(stateful_study(llama), url)
    said = f"warning: another machine could not go on from this checkpoint: cannot write {url}/checkpoints/"
    assert capsys.readouterr().err.count(said) == 2 * 3
    equal(there, whole, stateful_study(llama))


def test_nothing_is_trained_where_the_url_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    forbid_training(monkeypatch)
    with pytest.raises(StoreError, match=r"cannot (read|write) file://.*/file/run/.*NotADirectoryError"):
        harness.run(study(), f"file://{tmp_path}/file/run")


def test_a_replaced_trial_leaves_nothing_of_the_old_one_there(url, there):
    harness.run(study(), url)
    (trial,) = there.glob("trials/mle-*")
    (trial / "old.parquet").touch()
    (trial / "trial.json").write_text(json.dumps({"status": "failed", "identity": "", "timings": {}, "files": {}}))
    harness.run(study(), url)
    assert files(trial) == {*json.loads((trial / "trial.json").read_bytes())["files"], "trial.json"}


def failing(trial: Path) -> None:
    """Make a failed trial of one that is finished."""
    record = json.loads((trial / "trial.json").read_bytes())
    (trial / "trial.json").write_text(json.dumps({**record, "status": "failed", "traceback": "x", "files": {}}))


def test_a_failed_trial_whose_replacement_is_interrupted_is_absent_there(url, there, elsewhere):
    one = study(trainers={"pretrained": {}})
    harness.run(one, url)
    (trial,) = there.glob("trials/*")
    failing(trial)
    elsewhere()
    assert set(harness.load_results(url)["status"]) == {"failed"}
    assert run_and_die(one, url, PUT, 4, "before")
    elsewhere()
    assert set(harness.load_results(url)["status"]) == {"missing"}


def test_what_this_machine_is_ahead_by_stays_and_is_written_over_a_failure(url, there, monkeypatch):
    one = study(trainers={"pretrained": {}})
    table = harness.run(one, url)
    (trial,) = there.glob("trials/*")
    failing(trial)
    (Mirror(url).folder / "trials" / trial.name / PUSHED).unlink()
    pd.testing.assert_frame_equal(harness.load_results(url), table)
    forbid_training(monkeypatch)
    harness.run(one, url)
    assert json.loads((trial / "trial.json").read_bytes())["status"] == "finished"


def test_a_launch_on_several_machines_is_refused_before_anything_is_written(url, there, monkeypatch):
    launch = {"RANK": "0", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "head", "MASTER_PORT": "1"}
    for name, value in launch.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StudyError, match=f"a launch on several machines needs a results folder .* not {url}"):
        harness.run(study(), url)
    assert not there.exists()


@pytest.mark.long
def test_a_launch_on_one_machine_runs_into_a_url_and_goes_on_elsewhere(url, there, tmp_path, elsewhere):
    tables = {**small_tables(), **TRAINING, "trainers": {"mle": {}, "broken": {"use": toy("FailsInLaunch")}}}
    killed = launched(tables, tmp_path / "killed", "--out", url, fault="killed")
    assert "exitcode  : -9" in killed.stderr
    assert [path.stem[:6] for path in there.glob("checkpoints/*")] == ["broken"]
    elsewhere()
    last = launched(tables, tmp_path / "last", "--out", url)
    assert last.returncode == 0, last.stderr
    assert "1 trials were finished before" in last.stderr
    losses = [curve(there, name)["loss"].tolist() for name in ("mle", "broken")]
    assert losses[0] == losses[1], "it went on from the checkpoint at the URL"
    assert not list(there.glob("checkpoints/*"))


def test_a_trial_of_an_older_version_is_brought_without_digests(url, there, elsewhere):
    table = harness.run(study(), url)
    for record in there.glob("trials/*/trial.json"):
        forget_digests(record.parent)
    elsewhere()
    pd.testing.assert_frame_equal(harness.load_results(url), table)
    assert len(remeasure(url, "perplexity").table)


def test_a_copy_of_a_mirror_is_a_folder_of_its_own(url, there, tmp_path):
    harness.run(study(), url)
    before = files(there)
    copy = shutil.copytree(Mirror(url).folder, tmp_path / "copy")
    assert Mirror.of(copy) is None
    remeasure(copy, "accuracy")
    assert files(there) == before
    assert place_of(copy) == str(copy)


def test_places(tmp_path):
    for path in ("results/quick", "C:\\results", "C:/results", "c://results", "a:b", "//host/share", tmp_path):
        assert mirror_at(path) is None
        assert opened(path) == Path(path)
    for url in ("s3://bucket/run", "gs://bucket", "file:///x", "abfs://a@b.c/d", "s3://bucket/run/"):
        assert mirror_at(url).url == url.rstrip("/")
    assert mirror_at("s3://b/run").folder == mirror_at("s3://b/run/").folder != mirror_at("s3://c/run").folder
    with pytest.raises(RequestError, match=r"s3:/bucket/run was a URL before it became a path"):
        harness.run(study(), Path("s3://bucket/run"))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("s3://bucket/run", r"s3://bucket/run needs a package .*: pip install 'seqmatch\[s3\]'"),
        ("nothing://x/run", r"cannot read nothing://x/run/study.json \(ValueError: Protocol not known"),
    ],
)
def test_a_url_that_nothing_opens_is_one_line(url, problem, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    outcome = command("leaderboard", url)
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert re.match(f"error: {problem}", line)


def test_a_file_is_there_whole_or_not_at_all(url, there, tmp_path):
    remote, path = RemoteFiles(url, tmp_path), tmp_path / "x"
    path.write_text("new")
    assert (remote.read("a/x"), remote.get("a/x", tmp_path / "y"), remote.names("a")) == (None, False, [])
    remote.remove("a/x")
    remote.put(path, "a/x")
    assert (remote.read("a/x"), remote.names("a")) == (b"new", ["a/x"])
    remote.put(path, "a/x")
    assert files(there) == {"a/x"}


def test_paths_need_no_fsspec(tmp_path):
    code = "import sys, harness.engine, harness.store; harness.store.Store.at('x'); assert 'fsspec' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path)


def test_a_study_of_the_command_line_runs_into_a_url_with_a_mirror_where_the_variable_says(
    url, there, tmp_path, monkeypatch, command
):
    monkeypatch.setenv("SEQMATCH_RESULTS_CACHE", str(tmp_path / "mirrors"))
    (tmp_path / "s.toml").write_text(to_toml({**small_tables(), "seeds": 1, "trainers": {"pretrained": {}}}))
    assert command("run", tmp_path / "s.toml", "--out", url).code == 0
    (mirror,) = (tmp_path / "mirrors").iterdir()
    assert {path.removesuffix(f"/{PUSHED}") for path in files(mirror) if path.endswith(PUSHED)} == {
        f"trials/{path.name}" for path in there.glob("trials/*")
    }
