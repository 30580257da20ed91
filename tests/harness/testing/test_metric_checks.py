"""Every check of metrics catches a metric that is broken in that way, and no other."""

import re

import pytest
from outcomes import Broken, beside, failed, outcomes

from harness.testing import MetricTests, Tier, run_checks
from harness.testing.metric import METRIC
from harness.testing.metric.subject import differences

FILE = beside(__file__, "broken_metrics.py")
FILES = {
    "": FILE,
    "joint": beside(__file__, "broken_joint_metrics.py"),
    "around": beside(__file__, "broken_surroundings.py"),
}
ODD = ("empty_completions_are_no_crash", "any_character_is_no_crash", "long_completions_are_no_crash")
"""Numbers of odd texts are held to their declarations too."""
BIT_EQUAL = ("the_global_random_state_has_no_influence", "it_can_be_pickled")
"""What is never twice the same differs in each of these comparisons."""

BROKEN = [
    Broken("NoAnswers", "known_answers_hold", "known_answers.. is empty"),
    Broken("WrongAnswer", "known_answers_hold", "1 of 1 .* three of four letters: 0.75, and must be 0.8"),
    Broken("OneCaseTwice", "known_answers_hold", "have one name: .'three of four letters'"),
    Broken("TupleAnswers", "known_answers_hold", "make KnownAnswer"),
    Broken(
        "NoValues",
        "numbers_are_declared_with_direction_and_range",
        "values is empty",
        ("numbers_are_finite_and_within_their_ranges", *ODD),
    ),
    Broken("SpacedName", "numbers_are_declared_with_direction_and_range", "'letters wrong' is no name"),
    Broken("TurnedRange", "numbers_are_declared_with_direction_and_range", "range of letters_wrong is from 1 to 0"),
    Broken("NamedDirection", "numbers_are_declared_with_direction_and_range", "of letters_wrong is 'lower'"),
    Broken("MisspeltHeadline", "headline_numbers_are_declared", r"headline names \['leters_wrong'\]"),
    Broken("ListedHeadline", "headline_numbers_are_declared", "headline is a list: make it a tuple"),
    Broken("ListedColumns", "columns_and_needs_exist", "columns is a list: make it a tuple"),
    Broken("Clashes", "numbers_have_names_of_their_own", "accuracy is also a number of metric 'accuracy'"),
    Broken("NoLabel", "curves_are_declared_with_labels", "'progress' has no label"),
    Broken("OtherCurve", "curves_keep_to_their_declarations", "'progres' is not declared .* did you mean 'progress'"),
    Broken("BrokenCurve", "curves_keep_to_their_declarations", "not finite, the first is .0.0, nan"),
    Broken("NoCurve", "curves_keep_to_their_declarations", "no curve was reported"),
    Broken("MisspeltColumn", "columns_and_needs_exist", r"columns names \['completions'\]"),
    Broken("UnknownNeed", "columns_and_needs_exist", r"needs names \['gpu'\]"),
    Broken("HalfMinimum", "columns_and_needs_exist", "minimum_n is 0.5"),
    Broken("Undeclared", "numbers_are_finite_and_within_their_ranges", "reports 'surprise' of ordinary", ODD),
    Broken("NotANumber", "numbers_are_finite_and_within_their_ranges", "letters_wrong of ordinary .* is nan", ODD),
    Broken("OutOfRange", "numbers_are_finite_and_within_their_ranges", "out of its range from 0 to 1", ODD),
    Broken("OtherHeadline", "the_headline_number_is_reported", "letters_wrong, which .* not among letters_right"),
    Broken("NegativeError", "sample_errors_are_not_negative", "standard_error of letters_right is -1"),
    Broken("UpsideDown", "better_generations_score_better", "letters_right declares that lower is better, and is 1.0"),
    Broken("ByPlace", "the_order_of_rows_does_not_matter", "rows in another order gives other numbers, letters_right"),
    Broken("ByLabel", "the_index_of_rows_does_not_matter", "with another index gives other numbers, letters_right"),
    Broken("FromZero", "the_index_of_rows_does_not_matter", "with another index: it raises KeyError: 0; address rows"),
    Broken("Drops", "further_columns_do_not_matter", "with further columns: it raises MetricError: no row is complete"),
    Broken("ReadsPrompts", "only_declared_columns_are_read", "alone: it raises KeyError: 'prompt'; name in columns"),
    Broken("WantsLists", "stored_generations_give_equal_numbers", "from Parquet: it raises ValueError: The truth"),
    Broken(
        "RoundsInCache", "the_cache_changes_nothing", "without a cache and with an empty one it reports letters_right"
    ),
    Broken("Unrepeatable", "equal_seeds_give_equal_numbers", "the second time it reports letters_right", BIT_EQUAL),
    Broken(
        "UnsureOfItsError",
        "equal_seeds_give_equal_numbers",
        "the second time it reports the standard_error of letters_right 0.1",
        BIT_EQUAL,
    ),
    Broken("ReadsTheGenerator", "the_global_random_state_has_no_influence", "numpy.random.seed .* it reports letters"),
    Broken("Draws", "the_global_random_state_is_left_alone", "changes the state of random: use"),
    Broken("AddsAColumn", "generations_and_context_are_left_alone", "the table of generations is changed"),
    Broken("TurnsLists", "generations_and_context_are_left_alone", "the table of generations is changed"),
    Broken("SortsExamples", "generations_and_context_are_left_alone", "the examples of the context are changed"),
    Broken("LeavesTraining", "the_policy_is_left_alone", "left in training mode"),
    Broken("LeavesALayerTraining", "the_policy_is_left_alone", "left in training mode"),
    Broken("MovesWeights", "the_policy_is_left_alone", "weights of the policy are changed: model.embed_tokens.weight"),
    Broken("Freezes", "the_policy_is_left_alone", "requires_grad"),
    Broken("LeavesGradients", "the_policy_is_left_alone", "have gradients afterwards"),
    Broken(
        "around:OfTheFolder",
        "the_working_directory_does_not_matter",
        "another working directory it reports letters_right",
    ),
    Broken("around:Litters", "the_working_directory_does_not_matter", "writes scores.txt into the working directory"),
    Broken("around:Hashes", "another_process_gives_equal_numbers", "PYTHONHASHSEED is 1, it reports letters_right"),
    Broken("around:Connects", "no_network_is_used", "connects to localhost"),
    Broken("around:ConnectsOnce", "no_network_is_used", "connects to localhost"),
    Broken("MeasuresFew", "too_few_generations_are_an_error", "4 generations are measured, and minimum_n is 5"),
    Broken("SaysLittle", "too_few_generations_are_an_error", "names not both numbers: 'too few'"),
    Broken("MissesColumns", "a_missing_column_is_an_error", "without the column 'completion': it raises KeyError"),
    Broken("MissesNeeds", "a_missing_need_is_an_error", "without judge it raises TypeError"),
    Broken("TakesNoText", "what_is_no_text_is_an_error", "in the column 'completion': it is measured all the same"),
    Broken("Crashes", "what_is_no_text_is_an_error", "with None in the column 'completion': it raises TypeError"),
    Broken("DividesByRows", "an_empty_table_is_no_crash", "no generations: it raises ZeroDivisionError"),
    Broken("DividesByLetters", "empty_completions_are_no_crash", "some empty completions: it raises ZeroDivisionError"),
    Broken("AsciiOnly", "any_character_is_no_crash", "completions in any script: it raises UnicodeEncodeError"),
    Broken("Recurses", "long_completions_are_no_crash", "long completions: it raises RecursionError"),
    Broken("around:NeedsNoModule", "a_missing_module_is_an_error", "names 'sacrebleu', and it is computed without"),
    Broken("around:WrongError", "a_missing_module_is_an_error", "without sacrebleu it raises RuntimeError"),
    Broken("around:Unnamed", "a_missing_module_is_an_error", "it says 'something is not installed': name what"),
    Broken("Thaws", "it_is_a_frozen_dataclass", "'power' of an instance can be assigned"),
    Broken("Undocumented", "the_docstring_names_every_setting", "does not say what mystery means"),
    Broken("Drifts", "settings_survive_json", r"the settings \['power'\] are not what they were"),
    Broken("NoPickleAfterUse", "it_can_be_pickled", "cannot be pickled .*lambda"),
    Broken("joint:BothWays", "systems_are_measured_together", "give each pair once"),
    Broken("joint:SureOfAll", "systems_are_measured_together", "p-value of .* is 0.0: it must be above 0"),
    Broken(
        "joint:Reversed", "systems_are_measured_together", "the difference of letters_shared of 'first' and 'second' is"
    ),
    Broken("joint:SeesGhosts", "a_system_does_not_differ_from_itself", "differ in letters_shared by 0.0, p = 0.01"),
    Broken("joint:AnyRows", "systems_with_other_rows_are_an_error", "the rows of one turned round are compared"),
    Broken("WantsPrompts", "a_study_with_it_finishes", "the trial failed: .*MetricError: the prompts are empty"),
]
LONG = {"around:Connects", "around:NeedsNoModule", "around:Unnamed"}
"""Each starts a process, as another one does that fails the same check."""


def address(plugin: str) -> str:
    """Of a class in the file of broken metrics, or in the one that the word before a colon stands for."""
    file, _, name = plugin.rpartition(":")
    return f"{FILES[file]}:{name}"


@pytest.fixture(autouse=True)
def _folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(broken, id=broken.plugin, marks=[pytest.mark.long] if broken.plugin in LONG else [])
        for broken in BROKEN
    ],
)
def test_a_broken_metric_fails_the_check_of_its_fault_alone(broken):
    found = failed(outcomes("metric", address(broken.plugin), broken.check))
    assert re.search(broken.message, found[broken.check])
    assert set(found) == {broken.check, *broken.also}


def test_every_check_has_a_metric_that_fails_it():
    assert {broken.check for broken in BROKEN} == {check.name for check in METRIC.checks()}


@pytest.mark.parametrize(
    "conforming",
    ["Fine", "joint:Joint", "Plots", "UsesPolicy", pytest.param("around:KeepsInMemory", marks=pytest.mark.long)],
)
@pytest.mark.parametrize("tier", [Tier.QUICK, pytest.param(Tier.FULL, marks=pytest.mark.long)])
def test_a_metric_that_conforms_passes_every_check(conforming, tier):
    report = run_checks("metric", address(conforming), tier=tier)
    assert report.passed, report.summary


def test_rounding_around_zero_is_no_difference_and_a_small_number_is_no_rounding():
    assert not differences({"skew": 3e-17}, {"skew": -4e-17})
    assert differences({"skew": 3e-17}, {"skew": -4e-17}, tolerance=0)
    assert differences({"skew": 1e-6}, {"skew": 1.1e-6}) == "skew 1e-06 and 1.1e-06"


def test_as_many_checks_are_asked_for_as_run_for_a_metric_with_nothing_optional():
    report = run_checks("metric", f"{FILE}:Least")
    assert report.passed, report.summary
    assert report.ran == METRIC.minimum[Tier.QUICK]
    assert METRIC.minimum[Tier.FULL] == report.ran + len(METRIC.checks()) - len(METRIC.checks(Tier.QUICK))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("accuracy", {}),
        ("diversity", {}),
        ("diversity", {"self_bleu": 20, "zipf": True}),
        ("exact", {}),
        ("generative_perplexity", {"model": "llama"}),
        ("injected_errors", {}),
        ("mauve", {"model": "llama"}),
        ("perplexity", {}),
        ("trajectories", {}),
    ],
)
def test_built_in_metrics_conform(name, settings, llama):
    chosen = {key: llama if value == "llama" else value for key, value in settings.items()}
    report = run_checks("metric", name, chosen)
    assert report.passed, "\n".join([report.summary, *(outcome.reason for outcome in report.outcomes)])


class TestAccuracy(MetricTests):
    subject = "accuracy"
