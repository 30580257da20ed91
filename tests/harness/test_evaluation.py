"""Measurements in training: when, of what, and that nothing else changes."""

import dataclasses
import hashlib
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from small_studies import small_study, small_tables, toy

import harness
from harness.errors import StoreError, StudyError
from harness.execution import execute
from harness.expansion import plan
from harness.progress import Reporter
from harness.store import Store
from harness.study import Evaluation
from harness.trial import Trial, canonical
from harness.trial_log import Log

MATCH = {"use": "sequence_match_backspace", "cloning_share": 0.5, "refresh_every": 2, "refresh": 4}


@pytest.fixture(autouse=True)
def _fresh_calls():
    yield
    harness.registry.METRICS.load(toy("Picky")).calls.clear()


def study(trainer=None, points=4, metrics=None, own=None, **changes):
    model = {**small_tables()["model"], "lora": {"rank": 2, "dropout": 0.3}}
    own = {"accuracy": {}, "perplexity": {}, "trajectories": {}} if own is None else own
    return small_study(
        **{
            "seeds": 1,
            "model": model,
            "budget": {"steps": 8},
            "optimization": {"batch_size": 4, "log_every": 1, "learning_rate": 1e-2},
            "trainers": {"trained": trainer or MATCH},
            "tasks": {"letters": {"use": toy("Letters"), "metrics": own}},
            "evaluation": {"points": points, **({} if metrics is None else {"metrics": metrics})},
            **changes,
        }
    )


def run(**changes):
    trial, log, events = plan(study(**changes)).trials[0], Log(), []
    return execute(trial, Reporter(trial.label, events.append), log), log, events


def without_time(rows):
    return [{name: value for name, value in row.items() if name not in ("seconds", "trial")} for row in rows]


@given(st.integers(1, 10_000), st.integers(0, 60))
def test_points_are_evenly_spaced_and_the_last_is_the_end(budget, points):
    steps = Evaluation(points=points).steps(budget)
    assert list(steps) == sorted(set(steps))
    assert all(0 < step < budget for step in steps)
    assert len(steps) <= max(points - 1, 0)
    if points <= budget:
        assert len(steps) == max(points - 1, 0)
        gaps = [b - a for a, b in zip((0, *steps), (*steps, budget), strict=True)]
        assert points == 0 or max(gaps) - min(gaps) <= 1
    else:
        assert steps == tuple(range(1, budget))


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("trainer", [{"use": "mle"}, MATCH])
def test_what_is_trained_and_measured_at_the_end_is_the_same_bit_for_bit(trainer, precision):
    own = {"accuracy": {}, "picky": {"use": toy("Picky")}, "perplexity": {}}
    optimization = {"batch_size": 4, "log_every": 1, "learning_rate": 1e-2, "precision": precision}
    decoders = {"ancestral": {}, "greedy": {"temperature": 0.0}}
    found = []
    for points in (0, 8):
        result, log, _ = run(trainer=trainer, points=points, own=own, optimization=optimization, decoders=decoders)
        found.append((result, log))
    (plainly, log), (measured, log_measured) = found
    assert len(measured.evaluations) == 7 * 2 * 3
    for one, other in zip(plainly.policy.model.parameters(), measured.policy.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert_frame_equal(plainly.generations, measured.generations)
    rows = [[row for row in without_time(result.rows) if row["metric"] != "picky"] for result in (plainly, measured)]
    assert rows[0] == rows[1]
    assert without_time(log.curve) == without_time(log_measured.curve)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_point_is_the_end_of_a_training_that_ends_there(precision):
    optimization = {"batch_size": 4, "learning_rate": 1e-2, "precision": precision}
    longer, _, _ = run(points=2, optimization=optimization)
    (tokens,) = {row["tokens"] for row in longer.evaluations}
    shorter, _, _ = run(points=0, optimization=optimization, budget={"steps": 8, "tokens": tokens})
    assert {row["step"] for row in longer.evaluations} == {row["step"] for row in shorter.rows} == {4}
    assert without_time(longer.evaluations) == without_time(shorter.rows)


def test_rows_have_the_clocks_of_their_moment_and_only_the_metrics_asked_for():
    result, log, _ = run(metrics=["perplexity"], decoders={"a": {}, "b": {"temperature": 0.0}})
    assert [(row["step"], row["decoder"], row["metric"]) for row in result.evaluations] == [
        (step, decoder, "perplexity") for step in (2, 4, 6) for decoder in ("a", "b")
    ]
    curve = {row["step"]: row for row in log.curve}
    for row in result.evaluations:
        for clock in ("tokens", "generated_tokens", "flops"):
            assert row[clock] == curve[row["step"]][clock]
        assert 0 < row["seconds"] < result.rows[0]["seconds"]
        assert (row["status"], row["n"]) == ("finished", 4)


def test_a_training_that_ends_at_a_point_is_measured_there_once():
    tokens = run()[0].evaluations[0]["tokens"]
    result, log, _ = run(budget={"steps": 8, "tokens": tokens})
    assert result.evaluations == []
    assert "evaluation" not in log.timings
    assert {row["step"] for row in result.rows} == {2}


def test_a_trainer_that_owns_its_loop_may_ask_for_measurements_and_stop_at_a_point():
    result, _, _ = run(trainer={"use": toy("Stops"), "after": 4}, metrics=["accuracy"])
    assert [(row["step"], row["tokens"]) for row in result.evaluations] == [(2, 20)]
    assert {row["step"] for row in result.rows} == {4}


def test_evaluation_is_no_training_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("harness.trial_log.time.monotonic", lambda: now[0])

    def slow(*_: object) -> list[dict[str, object]]:
        now[0] += 1000
        return [{"metric": "slow", "value": 0.0, "higher_is_better": None}]

    monkeypatch.setattr("harness.evaluation.measure", slow)
    result, log, _ = run(metrics=["accuracy"])
    assert log.timings == {
        "data": 0, "model": 0, "training": 0, "evaluation": 3000, "generation": 0, "metrics": 0
    }  # fmt: skip
    seconds = [row["seconds"] for row in (*log.curve, *result.evaluations, *result.rows)]
    assert max(seconds) - min(seconds) < 1e-6


def test_phases_inside_phases_are_counted_once(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("harness.trial_log.time.monotonic", lambda: now[0])
    log = Log()
    with log.phase("outer"):
        now[0] += 1
        for _ in range(2):
            with log.phase("inner"):
                now[0] += 10
                with log.phase("innermost"):
                    now[0] += 100
            now[0] += 1
    with log.phase("outer"):
        now[0] += 1000
    assert log.timings == {"outer": 1003.0, "inner": 20.0, "innermost": 200.0}


def test_the_display_says_what_goes_on_and_then_where_training_is():
    _, _, events = run(points=2, metrics=["accuracy"])
    shown = [(event.phase, event.done) for event in events]
    aside = [index for index, (phase, _) in enumerate(shown) if phase.startswith("evaluation at step 4: ")]
    assert {shown[index][0] for index in aside} == {
        "evaluation at step 4: generation ancestral",
        "evaluation at step 4: metric accuracy",
    }
    assert shown[aside[-1] + 1] == ("training", 4)
    assert ("generation ancestral", 0) in shown[aside[-1] + 2 :]


def test_what_an_unfinished_policy_cannot_be_measured_by_is_left_out_and_noted(tmp_path):
    own = {"picky": {"use": toy("Picky"), "refuses": 2}, "accuracy": {}}
    harness.run(study(own=own), tmp_path)
    store = Store(tmp_path)
    table = store.evaluations()
    assert table.groupby("metric")["step"].agg(list).to_dict() == {"accuracy": [2, 4, 6, 8], "picky": [6, 8]}
    record = json.loads(next(tmp_path.glob("trials/*/trial.json")).read_text())
    assert record["unmeasured"] == [f"step {step}, decoder ancestral: metric 'picky': not yet" for step in (2, 4)]


def test_a_metric_that_cannot_be_computed_at_the_end_still_fails_the_trial(tmp_path):
    own = {"picky": {"use": toy("Picky"), "refuses": 9}}
    assert set(harness.run(study(own=own), tmp_path)["status"]) == {"failed"}


def test_a_bug_in_a_metric_fails_the_trial_at_the_first_point(monkeypatch):
    def bug(*_: object) -> dict[str, float]:
        raise ZeroDivisionError("a bug in the metric")

    monkeypatch.setattr(harness.registry.METRICS.load("accuracy"), "compute", bug)
    trial, log = plan(study()).trials[0], Log()
    with pytest.raises(ZeroDivisionError, match="a bug in the metric"):
        execute(trial, Reporter("x", lambda event: None), log)
    assert [row["step"] for row in log.curve] == [1, 2]


def test_evaluations_hold_all_steps_of_all_trials_and_what_has_none(tmp_path):
    trainers = {
        "pretrained": {},
        "mle": {},
        "own": {"use": toy("Shift")},
        "broken": {"use": toy("Shift"), "fault": "raise"},
    }
    results = harness.run(study(trainers=trainers), tmp_path)
    store = Store(tmp_path)
    table = store.evaluations()
    assert list(table) == list(results)
    assert (table.dtypes == results.dtypes).all()
    steps = table.groupby("trainer")["step"].unique().map(list).to_dict()
    assert steps["pretrained"] == [0], "without training its only point is where it stands"
    assert steps["mle"] == [2, 4, 6, 8]
    assert steps["own"] == [8], "a trainer that owns its loop is measured at the end"
    assert table.loc[table["trainer"] == "broken", "status"].tolist() == ["failed"]
    last = table[(table["step"] == table.groupby("trial")["step"].transform("max")) | table["step"].isna()]
    assert_frame_equal(last.reset_index(drop=True), results)
    keys = ["trial", "decoder", "metric", "step"]
    assert not table.dropna(subset=["metric"]).duplicated(keys).any()


def test_curves_of_metrics_are_those_of_the_end(tmp_path):
    harness.run(study(own={"plots": {"use": toy("Plots")}}), tmp_path)
    table = Store(tmp_path).series()
    assert table.groupby("series").size().to_dict() == {"lengths": 4, "steps": 2}


def test_a_table_of_evaluations_that_is_gone_is_named(tmp_path):
    harness.run(study(), tmp_path)
    path = next(tmp_path.glob("trials/*/evaluations.parquet"))
    path.unlink()
    with pytest.raises(StoreError, match=f"{path} cannot be read .*: delete {path.parent}"):
        Store(tmp_path).evaluations()
    assert len(Store(tmp_path).results())


def test_without_points_there_is_no_file_and_the_identity_is_what_it_was_before_there_were_any():
    trial = plan(study(points=0)).trials[0]
    assert trial.evaluation == {}
    old = {name: value for name, value in dataclasses.asdict(trial).items() if name != "evaluation"}
    again = Trial.from_json(json.loads(json.dumps(old)))
    assert again.identity == trial.identity
    for name in ("study", "save_policy", "checkpoint_every", "resources", "split"):
        del old[name]
    old |= {name: getattr(trial, name).content() for name in ("trainer", "task")}
    old["metrics"] = [metric.content() for metric in trial.metrics]
    assert hashlib.sha256(canonical(old).encode()).hexdigest() == trial.identity
    assert plan(study(points=1)).trials[0].identity == trial.identity, "its only point is the end"
    assert plan(study(points=2)).trials[0].identity != trial.identity
    narrow = [plan(study(points=2, metrics=[name])).trials[0].identity for name in ("accuracy", "perplexity")]
    assert len({*narrow, trial.identity}) == 3


def test_a_folder_of_an_older_version_reads_as_before(tmp_path):
    harness.run(study(points=0), tmp_path)
    path = tmp_path / "study.json"
    content = json.loads(path.read_text())
    for trial in content["trials"]:
        del trial["evaluation"]
    path.write_text(json.dumps(content))
    store = Store(tmp_path)
    assert [trial.identity for trial in store.specified()] == [trial["identity"] for trial in content["trials"]]
    assert store.is_finished(store.specified()[0])
    assert_frame_equal(store.evaluations(), store.results())
    assert not list(tmp_path.glob("trials/*/evaluations.parquet"))


def test_metrics_apply_to_the_tasks_that_have_them():
    tasks = {
        "one": {"use": toy("Letters"), "metrics": {"accuracy": {}, "trajectories": {}}},
        "two": {"use": toy("Letters"), "metrics": {"diversity": {}}},
    }
    found = {trial.task.name: trial.evaluation for trial in plan(study(tasks=tasks, metrics=["accuracy"])).trials}
    assert found == {"one": {"points": 4, "metrics": ["accuracy"]}, "two": {}}
    everything = {trial.task.name: trial.evaluation["metrics"] for trial in plan(study(tasks=tasks)).trials}
    assert everything == {"one": ["accuracy", "trajectories"], "two": ["diversity"]}


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        ({"points": 2, "metrics": ["acuracy"]}, r"evaluation.metrics: .* 'acuracy'; did you mean 'accuracy'\?"),
        ({"points": 0, "metrics": ["mauve"]}, r"no task of this study uses metric 'mauve'"),
        ({"points": 2, "metrics": []}, "metrics must name at least one: drop the key for all"),
        ({"points": -1}, "points must be at least 0, got -1"),
        ({"points": 2.5}, r"evaluation.points: .*2\.5"),
        ({"point": 2}, r"evaluation.point: unknown key; did you mean 'points'\?"),
    ],
)
def test_nonsense_is_refused(study_file, evaluation, message):
    with pytest.raises(StudyError, match=message):
        plan(study_file(evaluation=evaluation))
