"""Every check of tasks catches a task that is broken in that way, and no other."""

import re
from typing import ClassVar

import pytest
from outcomes import Broken, beside, failed, outcomes

from harness.errors import RequestError
from harness.testing import TaskTests, Tier, run_checks
from harness.testing.report import Status
from harness.testing.subjects import task_of
from harness.testing.task import TASK

FILE = beside(__file__, "broken_tasks.py")
COMPARISONS = (
    "the_order_of_calls_does_not_matter",
    "the_global_random_state_has_no_influence",
    "the_working_directory_does_not_matter",
    "the_corpus_can_be_read_again",
    "a_returned_table_is_the_callers_own",
    "it_can_be_pickled",
)
"""What is never twice the same differs in each of these comparisons."""

BROKEN = [
    Broken("NoValidation", "every_split_has_examples", "no examples in validation"),
    Broken("Renamed", "examples_have_the_columns", "no column 'completion', only prompt, answer, finished"),
    Broken("CountsFinished", "examples_have_the_columns", "'finished' is of type int64, and must be bool"),
    Broken("Missing", "examples_have_the_columns", "1 entries of the column 'completion' are missing"),
    Broken("Silent", "completions_are_not_empty", r"1 completions of train are empty, the first in row \[0\]"),
    Broken("AnySplit", "an_unknown_split_is_an_error", "gives 8 examples: raise TaskError"),
    Broken("KeyErrors", "an_unknown_split_is_an_error", "raises KeyError: raise TaskError"),
    Broken("TestsTraining", "training_holds_no_test_example", "1 examples of test are in train too"),
    Broken("TestsValidation", "validation_holds_no_test_example", "1 examples of test are in validation too"),
    Broken("LeakyCorpus", "the_corpus_holds_no_test_example", "8 of 8 test examples are in the corpus"),
    Broken("LeakyCorpusOfShortTexts", "the_corpus_holds_no_test_example", "8 of 8 test examples are in the corpus"),
    Broken("Unrepeatable", "equal_settings_give_equal_examples", "other examples in train, valid", COMPARISONS),
    Broken("FirstAsked", "the_order_of_calls_does_not_matter", "asked for in the order test, validation, train"),
    Broken("ReadsTheGenerator", "the_global_random_state_has_no_influence", "numpy.random.seed and .* train, valid"),
    Broken("Draws", "the_global_random_state_is_left_alone", "changes the state of random: use"),
    Broken("IgnoresSeed", "another_seed_gives_other_examples", "seed 0 and seed 1 have the same .* train, test"),
    Broken("OfTheFolder", "the_working_directory_does_not_matter", "train, validation, test has other examples"),
    Broken("Litters", "the_working_directory_does_not_matter", "writes words.txt into the working directory"),
    Broken("OtherCorpus", "the_corpus_can_be_read_again", "of a second call"),
    Broken("Remembers", "a_returned_table_is_the_callers_own", r"examples\('train'\) returns one object twice"),
    Broken("Hashes", "another_process_has_the_same_examples", "PYTHONHASHSEED is 1, train, validation, test has"),
    Broken("Controls", "texts_have_no_special_tokens", "24 train prompts have a special token .*'<bksp>'"),
    Broken("CutsWords", "prompt_and_completion_are_tokenised_alike_apart_and_together", "of train have other tokens"),
    Broken("OtherLetters", "the_corpus_has_every_character_of_training", r"such as \['a', 'b'"),
    Broken("HalfTokens", "max_new_tokens_is_a_number_of_tokens", "max_new_tokens is 10.5: return a whole number"),
    Broken("MovingBound", "max_new_tokens_is_a_number_of_tokens", "is 10 before the examples are made and 11 after"),
    Broken("TooShort", "completions_fit_the_bound", "24 of 24 completions of train .* max_new_tokens is 1"),
    Broken("TooLong", "prompts_fit_a_context", "with 5000 new ones and the start token it does not fit into 2048"),
    Broken("Miscounts", "fixed_lengths_are_those_of_the_examples", "are 24 training examples, and .* says 25"),
    Broken("Mismeasures", "fixed_lengths_are_those_of_the_examples", "a prompt takes .* tokens, and .* says 99"),
    Broken("LongErrors", "error_tokens_are_single_tokens", "'~~b': 3"),
    Broken("SameErrors", "error_tokens_are_single_tokens", "names some twice"),
    Broken("EmptyError", "error_tokens_are_single_tokens", r"has \[''\] in it"),
    Broken("ListOfErrors", "error_tokens_are_single_tokens", "is a list: return a tuple"),
    Broken("NeverRight", "the_judge_accepts_references", "calls 8 references wrong"),
    Broken("Impatient", "the_judge_accepts_beginnings_of_references", r"judge\('', '[a-h]+', ended=False\) is False"),
    Broken("AlwaysRight", "the_judge_rejects_wrong_completions", "ended=True the judge accepts all of"),
    Broken("EndsBetter", "what_is_right_could_become_right", "True for ended=True and False for ended=False"),
    Broken("Shy", "the_judge_takes_any_text", "raises ZeroDivisionError"),
    Broken("Counts", "the_judge_takes_any_text", "is [01]; return True or False"),
    Broken("ChangesItsMind", "the_judge_does_not_change_its_mind", "verdict the second time is another"),
    Broken("NoMetrics", "metrics_are_registered", "name at least one"),
    Broken("MisspeltMetric", "metrics_are_registered", "did you mean 'accuracy'"),
    Broken("MisspeltSetting", "metrics_are_registered", "zip: unknown key; did you mean 'zipf'"),
    Broken(
        "MetricTwice", "metrics_are_registered", "names accuracy more than once", ("metrics_report_different_numbers",)
    ),
    Broken("BareNames", "metrics_are_registered", "wrap names in MetricSpec"),
    Broken("WantsLanguage", "metrics_find_what_they_need", "'exact' needs a task whose language can be enumerated"),
    Broken("WantsMany", "metrics_find_what_they_need", "at least 50 test examples, and there are 8"),
    Broken("ReportsTwice", "metrics_report_different_numbers", "both report 'accuracy': drop one"),
    Broken("Thaws", "it_is_a_frozen_dataclass", "'train' of an instance can be assigned"),
    Broken("Undecorated", "it_is_a_frozen_dataclass", "annotates length but is no dataclass itself"),
    Broken("Undocumented", "the_docstring_names_every_setting", "does not say what mystery means"),
    Broken("NoDocstring", "the_docstring_names_every_setting", "does not say what riddle means"),
    Broken("Drifts", "settings_survive_json", r"the settings \['train'\] are not what they were"),
    Broken("NoPickle", "it_can_be_pickled", "TypeError: cannot pickle words"),
    Broken("NoPickleAfterUse", "it_can_be_pickled", "cannot be pickled .*lambda"),
    Broken("BrokenMetric", "metrics_take_the_references", "MetricError: not these generations"),
    Broken("Reserved", "a_study_on_it_finishes", "broken_tasks.py:Fastidious' reports nothing of an untrained policy"),
    Broken("Discouraging", "a_study_on_it_finishes", "untrained policy failed: .*MetricError: .*there is a mistake"),
]


@pytest.fixture(autouse=True)
def _folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.plugin)
def test_a_broken_task_fails_the_check_of_its_fault_alone(broken):
    found = failed(outcomes("task", f"{FILE}:{broken.plugin}", broken.check))
    assert re.search(broken.message, found[broken.check])
    assert set(found) == {broken.check, *broken.also}


def test_every_check_has_a_task_that_fails_it():
    assert {broken.check for broken in BROKEN} == {check.name for check in TASK.checks()}


def test_what_is_no_table_is_said_to_be_none():
    found = failed(outcomes("task", f"{FILE}:Lists"))
    assert "they are a list, and must be a datasets.Dataset" in found["examples_have_the_columns"]


def test_a_task_that_conforms_passes_every_check():
    report = run_checks("task", f"{FILE}:Fine", tier=Tier.FULL)
    skipped = {outcome.check for outcome in report.outcomes if outcome.status is Status.SKIPPED}
    assert skipped == {"fixed_lengths_are_those_of_the_examples"}
    assert report.ran == len(report.outcomes) - 1
    assert report.passed, report.summary


def test_as_many_checks_are_asked_for_as_run_for_a_task_with_nothing_optional():
    report = run_checks("task", f"{FILE}:Least")
    assert report.passed, report.summary
    assert report.ran == TASK.minimum[Tier.QUICK]
    assert TASK.minimum[Tier.FULL] == report.ran + len(TASK.checks()) - len(TASK.checks(Tier.QUICK))


def test_another_process_finds_a_file_that_was_named_from_its_folder(monkeypatch):
    monkeypatch.chdir(FILE.parent)
    assert task_of("broken_tasks.py:Fine", {}).address == f"{FILE}:Fine"
    assert task_of("language", {}).address == "language"


class TestArithmetic(TaskTests):
    subject = "arithmetic"


class TestLanguage(TaskTests):
    subject = "language"


@pytest.mark.assets
@pytest.mark.long
class TestText(TaskTests):
    subject = "text"
    settings: ClassVar[dict[str, int]] = {"train": 1000}

    @pytest.fixture(autouse=True)
    def _fetched(self, assets, monkeypatch):
        monkeypatch.setenv("SEQMATCH_ASSETS", str(assets))


def test_a_kind_of_plug_in_that_there_is_not_is_said():
    with pytest.raises(RequestError, match="there is no kind 'trainers' of plug-in: trainer, task or metric"):
        run_checks("trainers", "mle")
