import math
import sys
import time
from types import SimpleNamespace
from typing import ClassVar

import pandas as pd
import pytest
from faults import run_and_die
from small_studies import small_study, small_tables, to_toml

import harness
from harness import reporting
from harness.errors import RequestError

METRICS = {"trajectories": {}}


def study(**changes):
    tasks = {"language": {"max_length": 5, "train": 60, "test": 20, "metrics": METRICS}}
    settings = {
        "tasks": tasks,
        "trainers": {"pretrained": {}, "sequence_match_backspace": {"refresh": 4, "cloning_share": 0.3}},
        "budget": {"steps": 8},
        "optimization": {"batch_size": 4, "log_every": 2},
        "evaluation": {"points": 2},
    }
    return small_study(**{**settings, **changes})


def events(out, label):
    """The scalars of a run, as (step, value) by tag, and its specification."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (file,) = (out / "tensorboard" / label).iterdir()
    found = EventAccumulator(str(file)).Reload()
    text = found.Tensors("specification/text_summary")[0].tensor_proto.string_val[0].decode()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}, text


def expected(out, folder, label):
    """The same from the results folder."""
    tags = {}
    for row in pd.read_parquet(folder / "curve.parquet").to_dict("records"):
        for name, value in row.items():
            if name != "step" and not math.isnan(value):
                tags.setdefault(f"train/{name}", []).append((row["step"], value))
    table = harness.store.Store(out).evaluations()
    for row in table[table["trial"].str[:8] == label[-8:]].to_dict("records"):
        if not math.isnan(row["value"]):
            tags.setdefault(f"eval/{row['decoder']}/{row['metric']}", []).append((row["step"], row["value"]))
    return tags


def check(out):
    folders = sorted((out / "trials").iterdir())
    assert sorted(path.name for path in (out / "tensorboard").iterdir()) == [folder.name for folder in folders]
    for folder in folders:
        found, text = events(out, folder.name)
        wanted = expected(out, folder, folder.name)
        assert found.keys() == wanted.keys()
        for tag, points in wanted.items():
            assert [step for step, _ in found[tag]] == [step for step, _ in points], tag
            assert [value for _, value in found[tag]] == pytest.approx([value for _, value in points], rel=1e-6), tag
        assert '"identity"' in text
        assert folder.name[-8:] in text
    return found


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.long)])
def test_tensorboard_holds_what_the_results_folder_holds(tmp_path, workers):
    out = tmp_path / "out"
    harness.run(study(), out, workers=workers, report_to=["tensorboard"])
    found = check(out)
    assert {"train/loss", "train/flops", "train/generated_tokens", "eval/ancestral/length_mean"} <= found.keys()
    assert [step for step, _ in found["eval/ancestral/length_mean"]] == [4, 8]


def test_a_trial_that_goes_on_from_a_checkpoint_reports_its_beginning_too(tmp_path):
    out, one = tmp_path / "out", study(seeds=1, checkpoint_every=1, trainers={"mle": {}})
    assert run_and_die(one, out, "harness.checkpoints:CheckpointFile.save", 6)
    assert list((out / "checkpoints").iterdir())
    harness.run(one, out, report_to=["tensorboard"])
    found = check(out)
    assert len(found["train/loss"]) == 5


def test_results_are_the_same_with_and_without(tmp_path):
    tables = [
        harness.run(study(), tmp_path / name, report_to=to) for name, to in (("with", ["tensorboard"]), ("without", []))
    ]
    for table in tables:
        del table["seconds"]
    pd.testing.assert_frame_equal(*tables)
    assert not (tmp_path / "without" / "tensorboard").exists()


class Broken:
    def __init__(self, trial, out):
        if trial.trainer.name == "pretrained":
            raise OSError("no room")

    def log(self, numbers, step):
        if step > 3:
            raise ConnectionError("nobody listens")

    def close(self):
        raise AssertionError("it was dropped")


def test_a_tracker_that_breaks_is_a_note_and_the_trial_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(reporting.TRACKERS, "tensorboard", Broken)
    table = harness.run(study(seeds=1), tmp_path / "out", report_to=["tensorboard"])
    assert set(table["status"]) == {"finished"}
    notes = [line.partition(": ")[2] for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert notes == [
        "warning: nothing is reported to tensorboard: OSError: no room",
        "warning: nothing more is reported to tensorboard: ConnectionError: nobody listens",
    ]


class Slow:
    """An hour passes while it is told anything; it notes at which step that was."""

    told: ClassVar[list[int]] = []

    def __init__(self, trial, out):
        pass

    def log(self, numbers, step):
        self.told.append(step)

    def close(self):
        pass


def test_a_tracker_that_is_slow_takes_nothing_of_the_time_of_a_trial(tmp_path, monkeypatch):
    monkeypatch.setitem(reporting.TRACKERS, "tensorboard", Slow)
    monkeypatch.setattr(Slow, "told", [])
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 3600 * len(Slow.told))
    monkeypatch.setattr("trainers.base.time", clock)
    changes = {"budget": {"steps": 4, "seconds": 1800}, "optimization": {"batch_size": 4, "log_every": 1}}
    trained = study(seeds=1, trainers={"mle": {}}, **changes)
    alone = harness.run(trained, tmp_path / "alone")
    table = harness.run(trained, tmp_path / "out", report_to=["tensorboard"])
    assert Slow.told == [1, 2, 2, 3, 4, 4], "four hours before the last step: a row of three, and a measurement"
    assert set(table["step"]) == {4}
    pd.testing.assert_frame_equal(table.drop(columns="seconds"), alone.drop(columns="seconds"))
    (file,) = tmp_path.glob("out/trials/*/curve.parquet")
    evaluations = harness.store.Store(tmp_path / "out").evaluations()
    readings = pd.concat([pd.read_parquet(file)["seconds"], evaluations["seconds"]]).sort_values()
    assert readings.max() < 1800
    assert readings.diff().max() < 1800


def test_names_may_be_repeated_or_joined_by_commas_and_none_is_none():
    assert reporting.chosen([]) == reporting.chosen(["none"]) == ()
    assert reporting.chosen(["tensorboard, tensorboard", "tensorboard"]) == ("tensorboard",)


@pytest.mark.parametrize("name", ["tensorboard", "trackio", "wandb"])
def test_a_library_that_is_missing_is_said_before_anything_runs(command, tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text(to_toml(small_tables()))
    outcome = command("run", "s.toml", "--out", "out", "--report-to", name)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"error: --report-to {name}: {name} is not installed: pip install 'seqmatch[{name}]'\n"
    assert {path.name for path in tmp_path.iterdir()} <= {"s.toml", "cache"}


def test_an_unknown_tracker_is_said_before_anything_runs(tmp_path):
    with pytest.raises(RequestError, match="--report-to tensorbord: unknown; did you mean 'tensorboard'"):
        harness.run(small_study(), tmp_path / "out", report_to=["tensorbord"])
    assert not (tmp_path / "out").exists()
