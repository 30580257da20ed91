import itertools
import re
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_studies import TOYS, small_study, toy

from harness.errors import RequestError, StudyError
from harness.expansion import _merged, plan
from harness.study import bundled_studies


def trials(**changes):
    return plan(small_study(**changes)).trials


def test_trials_run_by_task_then_seed_then_trainer():
    study = small_study(tasks={name: {"use": toy("Letters")} for name in ("one", "two")})
    order = [(trial.task.name, trial.seed, trial.trainer.name) for trial in plan(study).trials]
    assert order == list(itertools.product(["one", "two"], [0, 1], ["pretrained", "shift"]))


def test_all_trials_of_a_study_have_their_own_identity_and_label():
    found = plan("quick").trials
    assert len({trial.identity for trial in found}) == len({trial.label for trial in found}) == len(found) == 45


CONTRASTIVE = {"penalty_alpha": 0.6, "top_k": 4}


def test_a_decoder_that_cannot_serve_a_trainer_is_left_out_of_its_trials():
    found = trials(
        trainers={"mle": {}, "behavioral_cloning": {}}, decoders={"ancestral": {}, "contrastive": CONTRASTIVE}, seeds=1
    )
    assert {trial.trainer.name: list(trial.decoders) for trial in found} == {
        "mle": ["ancestral", "contrastive"],
        "behavioral_cloning": ["ancestral"],
    }
    with pytest.raises(StudyError, match="none of contrastive can decode policies with <bksp>"):
        trials(trainers={"behavioral_cloning": {}}, decoders={"contrastive": CONTRASTIVE})


def test_a_decoder_without_the_distribution_that_a_metric_needs_is_refused():
    study = {"trainers": {"mle": {}}, "decoders": {"ancestral": {}, "contrastive": CONTRASTIVE}}
    with pytest.raises(StudyError, match=r"tasks.language.decoders: metric 'exact' .* and 'contrastive' has none"):
        trials(tasks={"language": {}}, **study)
    trials(tasks={"language": {"decoders": ["ancestral"]}}, **study)
    trials(tasks={"language": {"metrics": {"diversity": {}}}}, **study)


def test_an_explicit_default_and_what_changes_no_result_change_nothing():
    plainly = trials()
    written = trials(
        trainers={"pretrained": {}, "shift": {"use": toy("Shift"), "scale": 0.1}},
        tasks={"letters": {"use": toy("Letters"), "train": 8}},
        optimization={"learning_rate": 1e-3},
        decoders={"ancestral": {"temperature": 1.0}},
        generation={"batch_size": 64},
        threads=1,
        description="other words",
        save_policies=True,
        resources={"cpus": 8, "gpus": 1},
    )
    assert [trial.identity for trial in plainly] == [trial.identity for trial in written]


@pytest.mark.parametrize(
    "changes",
    [
        {"trainers": {"pretrained": {}, "shift": {"use": toy("Shift"), "scale": 0.2}}},
        {"tasks": {"letters": {"use": toy("Letters"), "test": 5}}},
        {"optimization": {"learning_rate": 2e-3}},
        {"budget": {"steps": 4}},
        {"decoders": {"ancestral": {"temperature": 0.9}}},
        {"decoders": {"other": {}}},
        {"generation": {"max_actions_per_token": 5}},
        {"threads": 2},
        {"metrics": {"accuracy": {"use": toy("Threads")}}},
        {"seeds": (0, 2)},
    ],
)
def test_whatever_can_change_a_result_changes_the_identity(changes):
    assert {trial.identity for trial in trials()} != {trial.identity for trial in trials(**changes)}


def test_the_identity_follows_versions_and_the_content_of_a_local_file_but_not_its_folder(tmp_path, monkeypatch):
    def of(path):
        return trials(trainers={"shift": {"use": f"{path}:Shift"}})[0].identity

    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        shutil.copy(TOYS, tmp_path / folder)
    assert of(tmp_path / "one" / "toys.py") == of(tmp_path / "two" / "toys.py") == of(TOYS)
    (tmp_path / "two" / "toys.py").write_text(TOYS.read_text() + "# changed\n")
    assert of(tmp_path / "two" / "toys.py") != of(TOYS)
    before = of(TOYS)
    monkeypatch.setattr("harness.expansion.library_versions", lambda: {"torch": "99"})
    assert of(TOYS) != before


def test_the_identity_does_not_depend_on_where_the_assets_are(monkeypatch, tmp_path):
    before = [trial.identity for trial in plan("smollm2").trials]
    monkeypatch.setenv("SEQMATCH_ASSETS", str(tmp_path))
    assert [trial.identity for trial in plan("smollm2").trials] == before


def test_seeds_do_not_depend_on_which_trainers_are_compared():
    alone, together = trials(trainers={"pretrained": {}}), trials()
    assert {trial.identity for trial in alone} < {trial.identity for trial in together}


def test_tables_of_a_task_and_of_a_trainer_override_the_study():
    found = trials(
        optimization={"learning_rate": 0.1, "batch_size": 2, "warmup": 0.3},
        threads=2,
        resources={"gpus": 1},
        trainers={
            "pretrained": {"resources": {"gpus": 0}},
            "shift": {"use": toy("Shift"), "optimization": {"learning_rate": 0.3}, "budget": {"steps": 99}},
        },
        tasks={
            "letters": {
                "use": toy("Letters"),
                "optimization": {"learning_rate": 0.2, "batch_size": 4},
                "resources": {"gpus": 0.5},
                "budget": {"steps": 77},
                "model": {"fresh": {"hidden_size": 16}},
                "decoders": ["cool"],
                "metrics": {"accuracy": {}},
            }
        },
        decoders={"hot": {}, "cool": {"temperature": 0.5}},
    )
    by_trainer = {trial.trainer.name: trial for trial in found}
    for name, rate in (("pretrained", 0.2), ("shift", 0.3)):
        optimization = by_trainer[name].optimization
        assert (optimization["learning_rate"], optimization["batch_size"], optimization["warmup"]) == (rate, 4, 0.3)
    assert by_trainer["pretrained"].resources == {"cpus": 2, "gpus": 0}
    assert by_trainer["shift"].resources == {"cpus": 2, "gpus": 0.5}
    assert [by_trainer[name].budget["steps"] for name in ("pretrained", "shift")] == [77, 99]
    trial = found[0]
    assert (trial.model["fresh"]["hidden_size"], trial.model["fresh"]["num_attention_heads"]) == (16, 2)
    assert list(trial.decoders) == ["cool"]
    assert [metric.name for metric in trial.metrics] == ["accuracy"]


def test_a_task_may_change_what_a_trainer_is_set_to():
    tasks = {
        "letters": {"use": toy("Letters"), "optimization": {"learning_rate": 0.2}},
        "words": {
            "use": toy("Letters"),
            "optimization": {"learning_rate": 0.2},
            "trainers": {"shift": {"scale": 3.0, "optimization": {"batch_size": 5}}},
        },
    }
    trainers = {"pretrained": {}, "shift": {"use": toy("Shift"), "optimization": {"learning_rate": 0.3}}}
    found = {(each.task.name, each.trainer.name): each for each in trials(seeds=1, tasks=tasks, trainers=trainers)}
    assert found["letters", "shift"].trainer.settings["scale"] == 0.1
    assert found["words", "shift"].trainer.settings["scale"] == 3.0
    sizes = {key: (each.optimization["learning_rate"], each.optimization["batch_size"]) for key, each in found.items()}
    assert sizes["letters", "shift"] == (0.3, 32)
    assert sizes["words", "shift"] == (0.3, 5)
    assert sizes["words", "pretrained"] == sizes["letters", "pretrained"] == (0.2, 32)


def test_some_trainers_and_tasks_of_a_plan():
    planned = plan(small_study(tasks={"letters": {"use": toy("Letters")}, "words": {"use": toy("Letters")}}))
    some = planned.only(["shift"], ["words"])
    assert [(each.trainer.name, each.task.name, each.seed) for each in some.trials] == [
        ("shift", "words", 0),
        ("shift", "words", 1),
    ]
    assert {trial.identity for trial in some.trials} < {trial.identity for trial in planned.trials}
    assert (some.every, some.headlines) == (planned.trials, planned.headlines)
    assert planned.only() == planned
    assert len(planned.only(tasks=["letters"]).trials) == 4
    for names in ({"trainers": ["shfit"]}, {"tasks": ["shift"]}):
        with pytest.raises(RequestError, match="study 'small' has no"):
            planned.only(**names)


def test_another_source_of_the_model_replaces_the_study_s():
    trial = trials(tasks={"letters": {"use": toy("Letters"), "model": {"hub": "some/model"}}})[0]
    assert (trial.model["fresh"], trial.model["hub"]) == (None, "some/model")


tables = st.dictionaries(st.sampled_from("abc"), st.integers() | st.dictionaries(st.sampled_from("xy"), st.integers()))


@given(tables, tables)
def test_merging_keeps_what_is_not_overridden(base, override):
    merged = _merged(base, override)
    assert merged.keys() == base.keys() | override.keys()
    for name, value in merged.items():
        if name not in override:
            assert value == base[name]
        elif isinstance(value, dict) and isinstance(base.get(name), dict):
            assert value == {**base[name], **override[name]}
        else:
            assert value == override[name]


def test_settings_of_a_metric_come_from_the_metric_then_the_task_s_list_then_the_study():
    study = small_study(
        tasks={"letters": {"use": toy("Letters"), "metrics": {"mauve": {"scaling": 3.0}}}},
        metrics={"mauve": {"clusterings": 2, "scaling": 4.0}},
    )
    (mauve,) = plan(study).trials[0].metrics
    assert (mauve.settings["clusterings"], mauve.settings["scaling"], mauve.settings["max_tokens"]) == (2, 3.0, 64)


@pytest.mark.parametrize(
    ("trainers", "message"),
    [
        (["shift"], "tasks.letters.trainers: must have a table"),
        ({"shift": 3}, "tasks.letters.trainers: must have a table"),
        ({"shfit": {}}, "tasks.letters.trainers.shfit: is no trainer of this study; did you mean 'shift'"),
        ({"shift": {"use": "mle"}}, "tasks.letters.trainers.shift.use: must not be changed"),
        ({"shift": {"scael": 1.0}}, "tasks.letters.trainers.shift.scael"),
        ({"shift": {"optimization": {"rate": 1.0}}}, "tasks.letters.trainers.shift.optimization.rate"),
    ],
)
def test_what_a_task_cannot_change_of_a_trainer_is_said(trainers, message):
    with pytest.raises(StudyError, match=re.escape(message)):
        plan(small_study(tasks={"letters": {"use": toy("Letters"), "trainers": trainers}}))


def test_headlines_are_the_first_number_of_each_metric():
    assert plan(small_study()).headlines == {"letters": ["accuracy", "backspace_rate"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainers": {"mlee": {}}}, "trainers.mlee: unknown trainer 'mlee'; did you mean 'mle'"),
        ({"trainers": {"x": {"use": "mlee"}}}, "trainers.x.use: unknown trainer 'mlee'"),
        ({"trainers": {"x": {"use": 3}}}, "trainers.x.use: must be a string"),
        ({"trainers": {"mle": {"alhpa": 1}}}, "trainers.mle.alhpa: unknown key"),
        (
            {"trainers": {"sequence_match": {"alhpa": 1}}},
            "trainers.sequence_match.alhpa: unknown key; did you mean 'alpha'",
        ),
        (
            {"trainers": {"sequence_match": {"alpha": "abc"}}},
            "trainers.sequence_match.alpha: Input should be a valid number",
        ),
        ({"trainers": {"mle": {"optimization": {"lr": 1}}}}, "trainers.mle.optimization.lr: unknown key"),
        ({"trainers": {"mle": {"optimization": 1}}}, "trainers.mle.optimization: must be a table"),
        ({"trainers": {"mle": {"resources": {"gpu": 1}}}}, "trainers.mle.resources.gpu: unknown key"),
        ({"resources": {"cpus": 0}}, "resources: cpus must be above 0, got 0"),
        ({"resources": {"gpus": -1}}, "resources: gpus must be at least 0, got -1"),
        ({"trainers": {"x": {"use": toy("Greedy")}}}, "has a setting named 'optimization'"),
        ({"trainers": {"x": {"use": toy("NotATrainer")}}}, "trainers.x.use: .*not a subclass"),
        ({"tasks": {"arithmetc": {}}}, "tasks.arithmetc: unknown task 'arithmetc'; did you mean 'arithmetic'"),
        ({"tasks": {"arithmetic": {"min_base": 9, "max_base": 3}}}, "tasks.arithmetic: .*min_base 9 is larger"),
        ({"tasks": {"arithmetic": {"budget": {"stesp": 1}}}}, "tasks.arithmetic.budget.stesp: .*did you mean 'steps'"),
        ({"tasks": {"arithmetic": {"decoders": ["x"]}}}, "tasks.arithmetic.decoders: unknown decoder 'x'"),
        ({"tasks": {"arithmetic": {"decoders": []}}}, "tasks.arithmetic.decoders: must be a list"),
        ({"tasks": {"arithmetic": {"decoders": [["x"]]}}}, "tasks.arithmetic.decoders: must be a list of names"),
        (
            {"tasks": {"arithmetic": {"metrics": {"accurcy": {}}}}},
            "metrics.accurcy: unknown metric.*did you mean 'accuracy'",
        ),
        ({"tasks": {"arithmetic": {"metrics": {}}}}, "tasks.arithmetic.metrics: must have a table"),
        ({"tasks": {"arithmetic": {"metrics": ["mauve"]}}}, "tasks.arithmetic.metrics: must have a table"),
        (
            {"tasks": {"arithmetic": {"metrics": {"a": {"use": "accuracy"}, "b": {"use": "accuracy"}}}}},
            "'a' and 'b' both report 'accuracy'",
        ),
        ({"metrics": {"accuracyy": {}}}, "metrics.accuracyy: no task of this study uses it; did you mean 'accuracy'"),
        ({"metrics": {"accuracy": {"x": 1}}}, "metrics.accuracy.x: unknown key"),
        ({"budget": {}}, "budget.steps: is missing"),
        ({"budget": {"steps": "many"}}, "budget.steps: Input should be a valid integer"),
        ({"model": {}}, "give exactly one of fresh, path and hub"),
        ({"model": {"fresh": {}, "hub": "x"}}, "give exactly one"),
        ({"model": {"fresh": {"hidden_sise": 1}}}, "model.fresh.hidden_sise: unknown key; did you mean 'hidden_size'"),
        ({"decoders": {"d": {"topp": 0.9}}}, "decoders.d.topp: unknown key; did you mean 'top_p'"),
        ({"decoders": {"d": {"top_p": 1.5}}}, "decoders.d: .*top_p must lie in"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(changes, message):
    with pytest.raises(StudyError, match=message) as caught:
        trials(**changes)
    assert str(caught.value).startswith("study 'small': ")


@pytest.mark.parametrize("name", sorted(bundled_studies()))
def test_bundled_studies_resolve_without_assets_or_hub(name):
    assert plan(name).trials
