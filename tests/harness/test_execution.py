import dataclasses
import json
from contextlib import nullcontext

import pytest
import torch
from small_studies import small_study, toy

from harness.execution import execute
from harness.expansion import plan
from harness.measuring import judge_of
from harness.preparation import prepare
from harness.progress import Reporter
from harness.registry import METRICS
from harness.seeding import axis_seed
from harness.trial_log import Log
from metrics.base import MetricError
from tasks.language import LanguageTask


def run(index: int = 1, **changes):
    log = Log()
    events = []
    trial = plan(small_study(**changes)).trials[index]
    return trial, execute(trial, Reporter(trial.label, events.append), log), log, events


def letters(**settings):
    return {"letters": {"use": toy("Letters"), **settings}}


def with_metric(name: str = "Threads", **settings):
    return letters(metrics={"threads": {"use": toy(name), **settings}})


def test_a_trial_reports_every_number_of_every_metric_for_every_decoder():
    trial, result, log, _ = run(decoders={"hot": {}, "greedy": {"temperature": 0.0}})
    assert [(row["decoder"], row["metric"]) for row in result.rows] == [
        (decoder, metric)
        for decoder in ("hot", "greedy")
        for metric in (
            "accuracy",
            "backspace_rate",
            "erased_share",
            "finished_share",
            "length_mean",
            "wasted_actions",
            "actions_per_token",
        )
    ]
    for row in result.rows:
        assert (row["trial"], row["trainer"], row["task"], row["seed"]) == (trial.identity, "shift", "letters", 0)
        assert (row["step"], row["tokens"], row["n"], row["status"]) == (3, 30, 4, "finished")
    assert [row["step"] for row in log.curve] == [0, 1, 2]
    assert list(log.timings) == ["data", "model", "training", "generation", "metrics"]
    table = result.generations
    assert len(table) == 8
    assert list(table["sample"]) == [*range(4)] * 2
    assert list(table["reference"][:4]) == ["008", "009", "010", "011"]
    assert {"prompt", "completion", "completion_ids", "actions", "finish", "trainer", "task", "seed"} <= set(table)


def test_metrics_see_the_test_examples_and_as_further_real_texts_the_validation_split(monkeypatch):
    seen = []
    metric = METRICS.load(toy("Threads"))
    monkeypatch.setattr(metric, "compute", lambda self, generations, context: seen.append(context) or {})
    run(tasks=with_metric())
    (context,) = seen
    assert context.completions == ["008", "009", "010", "011"]
    assert context.real == ["012", "013", "014", "015"]


def test_a_trial_repeats_itself_whatever_ran_before():
    _, first, _, _ = run(tasks=with_metric())
    torch.manual_seed(99)
    torch.rand(7)
    _, second, _, _ = run(tasks=with_metric())
    _, other, _, _ = run(3, tasks=with_metric())
    assert first.generations.equals(second.generations)
    draws = [[row["value"] for row in result.rows] for result in (first, second, other)]
    assert draws[0] == draws[1] != draws[2]


def test_trainers_of_one_seed_start_from_the_same_weights_and_sample_with_the_same_numbers():
    nothing = {"use": toy("Shift"), "scale": 0.0}
    changes = {"trainers": {"pretrained": {}, "shift": nothing}}
    results = [run(index, **changes)[1] for index in range(4)]
    weights = [next(result.policy.model.parameters()) for result in results]
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[2], weights[3])
    assert not torch.equal(weights[0], weights[2])
    assert list(results[0].generations["completion"]) == list(results[1].generations["completion"])


def test_threads_are_those_of_the_study_inside_and_as_before_outside():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for threads in (1, 3):
            _, result, _, _ = run(tasks=with_metric(), threads=threads)
            assert result.rows[0]["value"] == threads
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_torch_is_pinned_even_where_its_threads_are_out_of_reach_of_threadpoolctl(monkeypatch):
    monkeypatch.setattr("threadpoolctl.threadpool_limits", lambda limits: nullcontext())
    _, result, _, _ = run(tasks=with_metric(), threads=3)
    assert result.rows[0]["value"] == 3


def test_metrics_get_the_seed_of_their_axis_and_rows_their_direction():
    _, result, _, _ = run(3, tasks=with_metric())
    by_name = {row["metric"]: row for row in result.rows}
    assert by_name["metric_seed"]["value"] == axis_seed(1, "metric")
    assert (by_name["threads"]["higher_is_better"], by_name["draw"]["higher_is_better"]) == (None, True)


@pytest.mark.parametrize(
    ("fault", "message"),
    [("nan", "draw is not a number"), ("undeclared", "reports 'surprise', which it does not declare")],
)
def test_a_number_that_is_none_or_that_nobody_declared_is_an_error(fault, message):
    with pytest.raises(MetricError, match=message):
        run(tasks=with_metric(fault=fault))


def test_what_is_known_of_a_failed_trial_is_in_its_log():
    trial = plan(small_study(trainers={"shift": {"use": toy("Shift"), "fault": "raise"}})).trials[0]
    log = Log()
    with pytest.raises(RuntimeError, match="a bug in the trainer"):
        execute(trial, Reporter("x", lambda event: None), log)
    assert len(log.curve) == 3
    assert list(log.timings) == ["data", "model", "training"]


def test_phases_are_reported_with_their_length():
    _, _, _, events = run()
    phases = [(event.phase, event.total) for event in events if event.done == 0]
    assert phases == [
        ("data", 0),
        ("model", 0),
        ("training", 3),
        ("generation ancestral", 4),
        ("metric accuracy", 0),
        ("metric trajectories", 0),
    ]
    assert ("training", 3) in [(event.phase, event.done) for event in events]
    assert ("generation ancestral", 4) in [(event.phase, event.done) for event in events]


def test_a_trial_survives_being_written_down():
    trial = plan(small_study()).trials[1]
    assert json.loads(json.dumps(dataclasses.asdict(trial)))["seed"] == 0


@pytest.mark.parametrize("backspace", [False, True])
def test_what_was_erased_is_judged_by_the_task(backspace):
    """Judged here by the text alone, from the actions that are written down."""
    language = {"language": {"train": 500, "validation": 5, "test": 40}}
    cloning = {"use": "behavioral_cloning" if backspace else "mle"}
    _, result, _, _ = run(0, tasks=language, trainers={"one": cloning})
    numbers = {row["metric"]: row["value"] for row in result.rows}
    strings = {LanguageTask().language.text(symbols) for symbols in LanguageTask().language.strings}
    actions, decode = result.policy.actions, result.policy.tokenizer.decode
    erased, ends = [], []
    for row in result.generations.itertuples():
        text, derailed = [], False
        for action in row.actions:
            written = decode(text)
            viable = any(string.startswith(written) for string in strings)
            derailed |= not viable
            if action == actions.bksp:
                erased.append(viable)
                text = text[:-1]
            elif action != actions.eos:
                text = [*text, action]
        derailed |= not any(string.startswith(decode(text)) for string in strings)
        if derailed:
            ends.append(row.finish == "eos" and decode(text) in strings)
    assert len(ends) > 10
    assert bool(erased) == backspace
    assert numbers["recovered_share"] == pytest.approx(sum(ends) / len(ends))
    if backspace:
        assert numbers["erased_right_share"] == pytest.approx(sum(erased) / len(erased))
        assert numbers["recovery"] > 0
    else:
        assert numbers["recovery"] == numbers["recovered_share"] == 0
        assert numbers["excess_error_1"] == pytest.approx(0, abs=1e-6)
    assert {f"excess_error_{t}" for t in range(1, 7)} <= numbers.keys()


def test_a_task_without_truth_has_no_judge():
    _, result, _, _ = run()
    assert "recovered_share" not in {row["metric"] for row in result.rows}


ARITHMETIC = {"train": 50, "validation": 5, "test": 20, "max_base": 4, "max_digits": 2, "answer_tokens": 6}
ROOMY = {**small_study().model["fresh"], "max_position_embeddings": 64}


def test_the_judge_of_a_task_reads_tokens():
    trial = plan(small_study(tasks={"arithmetic": ARITHMETIC}, model={"fresh": ROOMY})).trials[0]
    prepared = prepare(trial)
    judge, encode = judge_of(prepared), prepared.tokenizer.encode
    for text, ended, right in (("-1", False, True), ("-1", True, False), ("-12", True, True), ("12", False, False)):
        assert judge(encode(text, add_special_tokens=False), "-12", ended) is right


@pytest.mark.parametrize("trainer", ["mle", "behavioral_cloning"])
def test_injected_errors_on_a_real_task(trainer):
    task = {**ARITHMETIC, "metrics": {"injected_errors": {}}}
    trainers = {"one": {"use": trainer}}
    _, result, _, _ = run(0, tasks={"arithmetic": task}, trainers=trainers, model={"fresh": ROOMY})
    numbers = {row["metric"]: row["value"] for row in result.rows}
    assert numbers.keys() == {"erase_after_error", "erase_after_right"}
    assert all((number > 0) == (trainer == "behavioral_cloning") for number in numbers.values())
