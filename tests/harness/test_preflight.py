from pathlib import Path

import pytest
from small_studies import small_study, toy

import harness
from harness.errors import StoreError, StudyError
from harness.expansion import plan
from harness.preflight import check_trials, check_writable
from harness.registry import METRICS
from harness.study import bundled_studies


def checked(**changes) -> None:
    check_trials(plan(small_study(**changes)).trials, lambda text: None)


def letters(**settings):
    return {"letters": {"use": toy("Letters"), **settings}}


def test_a_sound_study_passes():
    checked()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": letters(fault="empty")}, "task 'letters': .*there is no text"),
        ({"tasks": letters(train=0)}, "task 'letters': there are no examples in train"),
        ({"tasks": letters(test=0)}, "task 'letters': there are no examples in test"),
        (
            {"tasks": letters(overlap=True)},
            "task 'letters': 4 of 4 test examples are also in training, for example '000'",
        ),
        (
            {"tasks": letters(length=8)},
            "a test prompt with 9 new tokens takes 18 tokens, the start token included, and the model's context has",
        ),
        (
            {"tasks": letters(metrics={"many": {"use": toy("NeedsMany")}})},
            "metric 'many' needs at least 1000 test examples, and there are 4",
        ),
        (
            {"tasks": letters(metrics={"exact": {"use": toy("NeedsLanguage")}})},
            "metric 'exact' needs a task whose language can be enumerated",
        ),
        ({"model": {"path": "/nowhere"}}, "task 'letters': .*/nowhere"),
        ({"model": {"path": "asset:nothing"}}, "seqmatch assets"),
        ({"trainers": {"x": {"use": toy("Named"), "file": "asset:nothing"}}}, "seqmatch assets"),
    ],
)
def test_what_would_spoil_a_run_is_found_before_and_nothing_is_written(tmp_path, changes, message):
    with pytest.raises(StudyError, match=message):
        harness.run(small_study(**changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_context_holds_exactly_what_fits():
    checked(tasks=letters(length=7))  # 1 + 7 + 8 = 16


def test_a_training_example_longer_than_the_context_is_found():
    with pytest.raises(StudyError, match=r"a training example takes 42 tokens.*has 16"):
        checked(tasks=letters(train_length=20))


def test_the_end_of_a_training_example_has_a_place_in_the_context():
    checked(tasks=letters(train_length=7))  # 1 + 7 + 7 and the end of the text
    with pytest.raises(StudyError, match=r"a training example takes 18 tokens.*has 16"):
        checked(tasks=letters(train_length=8))


def test_a_training_prompt_without_room_for_a_roll_out_is_found():
    room = letters(length=7, train_length=7, train_answer=1)
    none = letters(length=7, train_length=8, train_answer=1)
    checked(tasks=room, trainers={"sequence_match": {}})  # 1 + 7 + 8 = 16
    checked(tasks=none, trainers={"mle": {}})
    with pytest.raises(StudyError, match=r"a training prompt with a roll-out of 8 new tokens takes 17 tokens.*has 16"):
        checked(tasks=none, trainers={"mle": {}, "sequence_match": {}})


def test_text_that_the_tokenizer_does_not_keep_is_found():
    with pytest.raises(
        StudyError, match=r"task 'letters': 4 of 4 test prompts do not survive the tokenizer: 'é08' becomes '08'"
    ):
        checked(tasks=letters(accent=True))
    fresh = small_study().model["fresh"]
    checked(tasks=letters(accent=True), model={"fresh": {**fresh, "alphabet": "bytes"}})


@pytest.mark.parametrize(("validation", "said"), [(59, 1), (60, 0), (61, 0)])
def test_too_few_real_texts_for_a_ceiling_are_said_once_and_before(validation, said):
    notes = []
    tasks = letters(test=60, validation=validation, metrics={"mauve": {"model": "/some/folder"}, "trajectories": {}})
    check_trials(plan(small_study(tasks=tasks)).trials, notes.append)
    missing = (
        "task 'letters': metric 'mauve' reports no mauve_ceiling: the task has 59 validation examples for 60 test "
        "examples, give it as many of both"
    )
    assert notes == ["checking task letters", *[missing] * said]


@pytest.mark.parametrize("name", bundled_studies())
def test_bundled_studies_have_as_many_real_texts_as_their_ceilings_need(name):
    for trial in plan(name).trials:
        if any(METRICS.load(metric.use).needs_real for metric in trial.metrics):
            assert trial.task.settings["validation"] >= trial.task.settings["test"]


def test_mauve_without_its_extra_is_found(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    checked(tasks=letters(test=60, metrics={"mauve": {"model": "/some/folder"}}))
    study = {"tasks": letters(test=60, metrics={"mauve": {"model": "/some/folder", "backend": "mauve-text"}})}
    with pytest.raises(StudyError, match=r"metric 'mauve' needs mauve: pip install 'seqmatch\[mauve\]'"):
        checked(**study)


def test_self_bleu_without_its_extra_is_found(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    checked(tasks=letters(metrics={"diversity": {"zipf": True}}))
    with pytest.raises(StudyError, match=r"'diversity' needs sacrebleu: pip install 'seqmatch\[bleu\]'"):
        checked(tasks=letters(metrics={"diversity": {"self_bleu": 2}}))


def test_a_judge_that_no_task_has_is_found():
    with pytest.raises(StudyError, match="'injected_errors' needs a task on which the truth is known"):
        checked(tasks=letters(metrics={"injected_errors": {}}))


def test_a_bug_of_a_task_is_left_to_its_trials():
    checked(tasks={**letters(), "broken": {"use": toy("Letters"), "fault": "bug"}})


def test_every_distinct_task_and_model_is_prepared_once(monkeypatch):
    seen = []
    monkeypatch.setattr("harness.preflight._check_combination", lambda trial, *_: seen.append(trial.task.name))
    checked(seeds=5, tasks={**letters(), "other": {"use": toy("Letters"), "train": 9}})
    assert seen == ["letters", "other"]


def test_a_folder_that_can_be_written_passes_and_stays_as_it_was(tmp_path):
    check_writable(tmp_path / "a" / "b")
    check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for out in (file, file / "a" / "b"):
        with pytest.raises(StoreError, match=f"cannot write results to {out}: {file} is a file"):
            check_writable(out)
    with pytest.raises(StoreError, match="cannot write results to /proc/none"):
        check_writable(Path("/proc/none"))
