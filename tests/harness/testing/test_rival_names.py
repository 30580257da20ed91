"""Checks of a plug-in whose name another distribution has too: they try the one that was named, and nothing else."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributions import install
from outcomes import failed, outcomes

from harness.testing.subjects import metric_of, trainer_of
from harness.testing.trainer import TrainerSubject
from harness.testing.trainer.trials import study_of

METRICS = "seqmatch.metrics"
RENAMED = """
from broken_metrics import Fine, Value


class Theirs(Fine):
    values = {"letters_theirs": Value(True, (0, 1))}

    def compute(self, generations, context):
        return {"letters_theirs": super().compute(generations, context)["letters_right"]}
"""


@pytest.fixture
def rivals(site: Path) -> Iterator[None]:
    (site / "theirs.py").write_text(RENAMED)
    install(site, "rival", "accuracy = theirs:Theirs\nalone = theirs:Theirs\nboth = theirs:Theirs", METRICS)
    install(site, "other", "both = theirs:Theirs", METRICS)
    yield
    sys.modules.pop("theirs", None)


@pytest.mark.parametrize("name", ["rival/accuracy", "rival/both", "accuracy"])
def test_a_metric_that_shares_its_name_conforms_as_it_would_alone(rivals, name):
    assert failed(outcomes("metric", name)) == {}


def test_a_metric_that_is_named_by_its_file_does_not_clash_with_itself_as_installed(rivals, site):
    assert failed(outcomes("metric", f"{site / 'theirs.py'}:Theirs")) == {}


def test_a_number_is_compared_with_those_of_a_metric_whose_name_is_claimed_twice(rivals, tmp_path):
    copied = tmp_path / "copied.py"
    copied.write_text(RENAMED)
    found = failed(outcomes("metric", f"{copied}:Theirs"))
    assert list(found) == ["numbers_have_names_of_their_own"]
    assert "letters_theirs is also a number of metric 'rival/accuracy'" in found["numbers_have_names_of_their_own"]


def test_a_study_and_another_process_are_given_the_name_that_no_other_distribution_can_claim(rivals, site):
    install(site, "third", "mle = trainers.mle:MaximumLikelihood")
    assert metric_of("rival/accuracy", {}).address == "rival/accuracy"
    study = study_of(TrainerSubject(trainer_of("third/mle", {})))
    assert study.trainers["subject"]["use"] == "third/mle"
