"""Plug-ins of installed distributions, in a run and after it."""

import json

import pytest
from distributions import TRAINER, install
from small_studies import small_study

import harness
from harness.errors import StudyError
from harness.remeasuring import remeasure

METRIC = """
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar
from metrics.accuracy import Accuracy
from metrics.base import Value

@dataclass(frozen=True, kw_only=True)
class Mine(Accuracy):
    values: ClassVar[Mapping[str, Value]] = {"right": Value(True, (0, 1))}
    def compute(self, generations, context):
        return {"right": super().compute(generations, context)["accuracy"]}
"""
TASK = """
from dataclasses import dataclass
from typing import ClassVar
from tasks.base import MetricSpec
from toys import Letters

@dataclass(frozen=True, kw_only=True)
class Mine(Letters):
    metrics: ClassVar[tuple[MetricSpec, ...]] = (MetricSpec("rival/accuracy"), MetricSpec("accuracy"))
"""


@pytest.fixture
def out(site, tmp_path):
    """Results of a study in which trainer, task and metric come from two distributions that claim the same names."""
    for name, source in (("run_trainer", TRAINER), ("run_metric", METRIC), ("run_task", TASK)):
        (site / f"{name}.py").write_text(source)
    points = (
        "mle = run_trainer:Mine\n[seqmatch.metrics]\naccuracy = run_metric:Mine\n[seqmatch.tasks]\nmine = run_task:Mine"
    )
    install(site, "Rival", points, version="3.1")
    install(site, "other", "mine = nowhere:Mine", "seqmatch.tasks")
    study = small_study(
        trainers={"mle": {}, "theirs": {"use": "rival/mle"}}, tasks={"t": {"use": "rival/mine"}}, seeds=1
    )
    harness.run(study, tmp_path / "out")
    return tmp_path / "out"


def test_a_trial_of_colliding_names_records_whose_code_it_ran(out):
    table = harness.load_results(out)
    assert set(table["status"]) == {"finished"}
    assert set(table["metric"]) == {"right", "accuracy"}
    assert set(table["trainer"]) == {"mle", "theirs"}
    trials = {trial["trainer"]["name"]: trial for trial in json.loads((out / "study.json").read_text())["trials"]}
    origin = {
        name: tuple(trial["trainer"][key] for key in ("use", "distribution", "version"))
        for name, trial in trials.items()
    }
    assert origin["theirs"] == ("rival/mle", "rival", "3.1")
    assert origin["mle"][:2] == ("mle", "seqmatch")
    assert [metric["use"] for metric in trials["mle"]["metrics"]] == ["rival/accuracy", "accuracy"]


def test_a_metric_is_measured_again_under_its_qualified_name_beside_its_namesake(out):
    found = remeasure(out, "rival/accuracy")
    assert set(found.table["metric"]) == {"right"}
    assert found.path.name == "measured-rival-accuracy.parquet"
    remeasure(out, "accuracy")
    assert {path.name for path in out.glob("measured-*")} == {
        "measured-rival-accuracy.parquet",
        "measured-accuracy.parquet",
    }


def test_a_plain_name_that_two_claim_is_an_error_of_the_study_that_gives_both(out):
    with pytest.raises(
        StudyError, match=r"tasks\.mine: task 'mine' is registered by .*write 'other/mine' or 'rival/mine'"
    ):
        harness.run(small_study(tasks={"mine": {}}), out.parent / "other")
