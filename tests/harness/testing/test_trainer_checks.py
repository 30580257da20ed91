"""Every check of trainers catches a trainer that breaks its promise and no other, and the built-in ones conform."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.registry import TRAINERS
from harness.testing.battery import Tier
from harness.testing.report import Outcome, Status
from harness.testing.running import run_check, run_checks
from harness.testing.subjects import trainer_of
from harness.testing.trainer import TRAINER, TrainerSubject

HERE = Path(__file__).parent
COSTLY = {
    "a_batch_is_learnt_by_heart",
    "generation_shows_what_was_learnt",
    "a_cut_example_teaches_no_end",
    "a_trial_runs_beside_another_trainer",
    "an_interrupted_study_resumes",
    "the_order_of_the_data_follows_its_seed",
    "the_policy_survives_a_folder",
    "tokens_end_training",
    "training_makes_the_data_likelier",
}
"""Long trainings and whole studies; tried on the trainers that break them, and on those that conform."""
COMPARISONS = {
    "an_instance_keeps_no_state",
    "further_columns_are_ignored",
    "global_random_state_does_not_matter",
    "measuring_leaves_no_trace",
    "micro_batches_change_nothing",
    "the_folder_does_not_matter",
}
"""What compares two trainings, and so cannot hold where no two are alike."""


@dataclass(frozen=True)
class Broken:
    """A trainer that breaks a promise.

    Attributes:
        check: that must fail.
        trainer: file and class.
        seen: what the message says.
        also: other checks that cannot hold either.
    """

    check: str
    trainer: str
    seen: str
    also: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return f"{HERE / self.trainer.replace(':', '.py:')}"


def broken(check: str, trainer: str, seen: str, *also: str) -> Broken:
    return Broken(check, trainer, seen, frozenset(also))


MICRO = "micro_batches_change_nothing"
FITS, LOSSES, LOOPS = "broken_trainers", "broken_losses", "own_loops"
BROKEN = [
    # learning
    broken(
        "losses_are_finite",
        f"{FITS}:ReportsNoNumber",
        r"not finite in rows \[2\]",
        "rows_of_the_curve_are_finite_and_in_order",
    ),
    broken("the_loss_is_per_action", f"{LOOPS}:Sums", "divide the sum by the number of action steps"),
    broken("training_makes_the_data_likelier", f"{LOSSES}:Uphill", "with the right sign"),
    broken("a_batch_is_learnt_by_heart", f"{LOSSES}:NoEnds", "or its end masked out"),
    broken("generation_shows_what_was_learnt", f"{LOSSES}:ErasesEverything", "the policy writes .* for 'bad'"),
    broken("a_trainer_that_does_not_learn_changes_nothing", f"{FITS}:MovesWithoutLearning", "set learns = True"),
    broken("a_cut_example_teaches_no_end", f"{FITS}:FinishesAll", "`finished` is True only"),
    # budgets
    broken(
        "steps_end_training", f"{FITS}:OneMore", "2 steps were taken of a budget of 1", "rows_come_every_so_many_steps"
    ),
    broken("steps_end_training", f"{LOOPS}:StopsShort", "only 4 steps were taken of a budget of 5"),
    broken("tokens_end_training", f"{FITS}:IgnoresTokens", "with a budget of 1 tokens 6 steps were taken; 1 steps"),
    broken("generated_tokens_end_training", f"{FITS}:IgnoresSamples", "6 steps were taken; the first 2 reach it"),
    broken("seconds_end_training", f"{FITS}:LooksAtTheClockOnce", "up after step 2, and 6 steps were taken"),
    broken("an_exhausted_budget_trains_nothing", f"{FITS}:StartsAnyway", "1 steps were taken and 21 weights changed"),
    broken("the_meter_advances_step_by_step", f"{FITS}:ResetsItsFlops", "FLOPs went from"),
    broken("every_optimiser_step_is_counted", f"{LOOPS}:CountsMicroBatches", "took 4 steps and the meter counts 8"),
    broken("tokens_are_counted_in_full", f"{LOOPS}:CountsActions", "count prompts and completions"),
    # reproducibility
    broken("equal_seeds_give_equal_bits", f"{FITS}:DrawsAnew", "the same training twice: 21 weights", *COMPARISONS),
    broken("the_order_of_the_data_follows_its_seed", f"{FITS}:IgnoresTheOrder", r"context.seeds\['order'\]"),
    broken("an_instance_keeps_no_state", f"{FITS}:Remembers", "21 weights differ", "settings_are_not_changed"),
    broken("global_random_state_does_not_matter", f"{FITS}:DrawsGlobally", "after other global seeds: 21 weights"),
    broken("global_random_state_is_left_alone", f"{FITS}:MovesTheGlobalGenerator", "the global generator of torch:"),
    broken("the_folder_does_not_matter", f"{FITS}:ReadsTheFolder", "in another working directory: 21 weights differ"),
    broken(MICRO, f"{LOOPS}:MeanOfMeans", "with 2 micro-batches per step a weight differs"),
    broken("another_process_gives_the_same_bits", f"{FITS}:AsksTheHash", "iterate over no set"),
    # inputs
    broken("examples_are_not_changed", f"{FITS}:SetsAFormat", "work on a copy"),
    broken("further_columns_are_ignored", f"{FITS}:CountsColumns", "with two columns more: 21 weights differ"),
    broken("settings_are_not_changed", f"{FITS}:Listed", "training changed Listed.seen of the trainer"),
    broken("what_the_harness_lends_is_read_only", f"{FITS}:TakesASeed", "does not support item assignment"),
    # process
    broken("settings_of_torch_are_left_alone", f"{FITS}:SetsThePrecision", "matmul precision"),
    broken("settings_of_the_process_are_left_alone", f"{FITS}:SetsAVariable", "environment variables"),
    broken("no_file_is_written", f"{FITS}:WritesAFile", "training wrote log.txt"),
    broken("nothing_is_printed", f"{FITS}:Prints", r"training printed \['done'\]"),
    # outcome
    broken("the_policy_keeps_its_actions_and_tokenizer", f"{FITS}:GrowsTheVocabulary", "vocabulary"),
    broken("the_policy_is_ready_to_be_sampled", f"{FITS}:StaysInTraining", "33 modules are in training mode"),
    broken("weights_are_finite_and_of_their_dtype", f"{FITS}:DoublesThePrecision", "shapes or dtypes"),
    broken("gradients_are_freed", f"{FITS}:KeepsGradients", "21 weights still have a gradient"),
    broken("frozen_weights_stay_frozen", f"{FITS}:Thaws", "the input embeddings were frozen and changed"),
    broken("the_model_is_left_unwrapped", f"{FITS}:LeavesAHook", "other than before: hooks"),
    broken("the_policy_survives_a_folder", f"{FITS}:ScalesUnsaved", "learnt outside the model"),
    # declaration
    broken("the_class_is_a_frozen_dataclass", f"{FITS}:Undecorated", r"decorate it with @dataclass\(frozen=True"),
    broken(
        "the_methods_take_what_they_are_called_with", f"{LOOPS}:Narrow", r"cannot be called as loss\(policy, batch\)"
    ),
    broken(
        "the_methods_take_what_they_are_called_with", f"{LOOPS}:NarrowRollouts", r"as rollouts\(optimization, steps\)"
    ),
    broken("every_setting_is_documented", f"{FITS}:Undocumented", "does not say what strength means"),
    broken("settings_survive_a_study", f"{FITS}:ChangesItsSetting", r"for example \[\(4\.0, 8\.0\)\]"),
    broken("a_trainer_can_be_pickled", f"{FITS}:HoldsALock", r"cannot be pickled \(TypeError"),
    broken("impossible_settings_are_refused_by_name", f"{FITS}:Asserts", "strength = -1 raised AssertionError"),
    # evaluation
    broken("rows_of_the_curve_are_finite_and_in_order", f"{FITS}:NanColumn", "margin of step 1"),
    broken("the_curve_agrees_with_the_meter", f"{FITS}:MiscountsInTheCurve", "step 1 differs .* in tokens"),
    broken("rows_come_every_so_many_steps", f"{FITS}:ReportsAlways", "not 1, 5, 6"),
    broken("every_step_can_be_measured", f"{FITS}:MeasuredNowAndThen", r"steps \[1, 3, 5\], not"),
    broken("every_step_can_be_measured", f"{FITS}:ShowsWhatItStartedFrom", r"shown after step \[1\] is that"),
    broken("every_step_can_be_measured", f"{FITS}:ShowsEverySecondStep", r"shown after step \[2\] is that"),
    broken("measuring_leaves_no_trace", f"{FITS}:FeelsMeasurements", "measured after every step: 21 weights"),
    broken("an_interrupt_ends_training", f"{FITS}:Swallows", "KeyboardInterrupt in step 2 was caught"),
    # losses
    broken("a_loss_is_a_sum_with_its_steps", f"{LOSSES}:CountsTwice", "steps is 52 for a batch with 26 actions"),
    broken("padding_changes_no_loss", f"{LOSSES}:WeighsByWidth", "with more padding the total goes from", MICRO),
    broken(
        "the_order_of_rows_changes_no_loss",
        f"{LOSSES}:FavoursTheFirstRow",
        "rows in reverse the total goes",
        "a_batch_is_the_sum_of_its_rows",
        MICRO,
    ),
    broken(
        "a_batch_is_the_sum_of_its_rows",
        f"{LOSSES}:MeansOverRows",
        "row by row the total goes",
        "the_loss_is_per_action",
        MICRO,
    ),
    broken("a_loss_leaves_its_batch_alone", f"{LOSSES}:WritesIntoItsBatch", "changed step of its batch in place"),
    broken("a_loss_leaves_its_batch_alone", f"{LOSSES}:WritesIntoItsRollouts", "changed step of its batch in place"),
    # masking
    broken("prompts_are_not_trained_on", f"{LOOPS}:TrainsOnPrompts", r"slots \[2\] of a prompt of 4 tokens"),
    broken("padding_is_not_trained_on", f"{LOOPS}:TrainsOnPadding", "mask the labels of the padding", MICRO),
    broken("noise_is_not_imitated", f"{LOSSES}:ImitatesNoise", "the gradient raises the noise token"),
    broken("erasing_noise_is_learnt", f"{LOSSES}:NeverErases", "does not raise <bksp>"),
    # odd data
    broken("no_examples_are_refused", f"{FITS}:TrainsOnNothing", "raise trainers.base.TrainerError"),
    broken("one_example_is_enough", f"{FITS}:NeedsTwo", "one example in batches of 4 raised IndexError"),
    broken("a_batch_may_be_larger_than_the_data", f"{LOOPS}:DropsLast", "no step was taken on 3 examples"),
    broken("prompts_and_completions_may_be_empty", f"{FITS}:NoEmpties", "raised ValueError: empty completion"),
    broken("any_text_is_trained_on", f"{FITS}:AsciiOnly", "UnicodeEncodeError"),
    broken("special_tokens_in_text_are_survived", f"{FITS}:ChokesOnSpecials", "KeyError"),
    # trials
    broken("a_trial_runs_beside_another_trainer", f"{FITS}:FailsInTrials", "failed: RuntimeError: only the task"),
    broken("an_interrupted_study_resumes", f"{FITS}:ChangedByInterrupts", "interrupted and resumed.*curves differ"),
    broken("workers_give_the_same_table", f"{FITS}:AsksTheProcess", "one process against two: .*curves differ"),
    # models
    broken("adapters_alone_are_trained", f"{FITS}:ThawsAdapters", "21 frozen weights changed"),
    broken("half_precision_trains", f"{FITS}:HalvesItsWeights", "bfloat16 after training in bf16"),
    broken("another_architecture_trains", f"{FITS}:LlamaOnly", "no attribute 'layers'"),
    broken("dropout_follows_its_seed", f"{LOOPS}:DrawsDropoutGlobally", "another global seed: 29 weights differ"),
]


CONFORMING = ("Own", "ShorterHalf", "Critic")
SHORT = {"pretrained", f"{HERE / LOOPS}.py:Own", f"{HERE / LOOPS}.py:ShorterHalf"}
"""What ``make test`` tries too: a trainer without a loop, with one of its own, and with the shared one."""
QUICK = {check.name for check in TRAINER.checks(Tier.QUICK)} - COSTLY
FILES = {check.name: check.function.__module__ for check in TRAINER.checks()}
TRIED_BY_ALL = {f"{FITS}:DrawsAnew", f"{LOSSES}:MeansOverRows", f"{LOOPS}:DropsLast"}
"""Of each file the trainer that ``make test`` tries with all quick checks; ``make test-all`` does so with every one."""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def outcomes(trainer: str, names: set[str]) -> dict[str, Outcome]:
    plugin = trainer_of(trainer, {})
    checks = [check for check in TRAINER.checks() if check.name in names]
    return {check.name: run_check(check, lambda: TrainerSubject(plugin)) for check in checks}


def fails_alone(case: Broken, others: set[str]) -> None:
    found = outcomes(case.name, {case.check, *others} if case.check in QUICK else {case.check})
    failed = {name for name, outcome in found.items() if outcome.status is Status.FAILED}
    assert failed == {case.check} | case.also, {name: found[name].reason for name in failed}
    assert re.search(case.seen, found[case.check].reason)


def cases(long: set[str]) -> list[object]:
    return [
        pytest.param(case, id=case.trainer.partition(":")[2], marks=[pytest.mark.long] if case.trainer in long else [])
        for case in BROKEN
    ]


@pytest.mark.parametrize("case", cases(long={f"{FITS}:AsksTheProcess"}))
def test_a_trainer_that_breaks_one_promise_fails_its_check_and_none_of_the_same_file(case: Broken) -> None:
    fails_alone(case, case.also | {name for name in QUICK if FILES[name] == FILES[case.check]})


@pytest.mark.parametrize("case", cases(long={case.trainer for case in BROKEN} - TRIED_BY_ALL))
def test_a_trainer_that_breaks_one_promise_fails_its_check_and_no_other(case: Broken) -> None:
    fails_alone(case, QUICK)


def test_every_check_is_broken_by_a_trainer_and_every_broken_trainer_is_tried() -> None:
    assert {case.check for case in BROKEN} == {check.name for check in TRAINER.checks()}
    written = {
        f"{file}:{node.name}"
        for file in (FITS, LOSSES, LOOPS)
        for node in ast.parse((HERE / f"{file}.py").read_text()).body
        if isinstance(node, ast.ClassDef)
    }
    assert written - {f"{FITS}:Base", *(f"{LOOPS}:{name}" for name in CONFORMING)} == {case.trainer for case in BROKEN}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, id=name.split(":")[-1], marks=[] if name in SHORT else [pytest.mark.long])
        for name in (*TRAINERS.builtin, *(f"{HERE / LOOPS}.py:{each}" for each in CONFORMING))
    ],
)
def test_trainers_of_the_house_and_others_conform(name: str) -> None:
    report = run_checks("trainer", name)
    assert not [(outcome.check, outcome.reason) for outcome in report.outcomes if outcome.status is Status.FAILED]
    assert report.passed
    if name == "pretrained":
        assert report.ran == report.minimum, "the minimum is what no trainer may skip"


@pytest.mark.long
def test_all_that_is_checked_of_a_trainer_holds_for_the_most_intricate_one() -> None:
    report = run_checks("trainer", "sequence_match_backspace", tier=Tier.FULL)
    assert not [(outcome.check, outcome.reason) for outcome in report.outcomes if outcome.status is Status.FAILED]
    assert report.passed
