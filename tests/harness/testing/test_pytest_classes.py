"""The pytest classes in a project of a user, run by a real pytest in a process of its own."""

import re
import subprocess
import sys

import pytest

from harness.testing.battery import Tier
from harness.testing.trainer import TRAINER

PLUGIN = """
from dataclasses import dataclass
from trainers.pretrained import Pretrained

@dataclass(frozen=True, kw_only=True)
class Mine(Pretrained):
    def fit(self, policy, examples, budget, context):
        return policy

@dataclass(frozen=True, kw_only=True)
class Faulty(Pretrained):
    def fit(self, policy, examples, budget, context):
        raise OSError("gone")
"""
TESTS = """
import pytest
from harness.testing import MetricTests, Tier, TrainerTests
from harness.testing.metric import METRIC

class TestMine(TrainerTests):
    subject = "PATH:Mine"

class TestFaulty(TrainerTests):
    subject = "PATH:Faulty"

class TestFew(MetricTests):
    subject = "accuracy"

    @pytest.fixture(autouse=True)
    def _ask_for_many(self, monkeypatch):
        monkeypatch.setitem(METRIC.minimum, Tier.QUICK, 1000)

class TestTypo(TrainerTests):
    subject = "sequence_mach"
"""
CHOSEN = "TestMine or TestFaulty and nothing_is_printed or (TestFew or TestTypo) and enough"


@pytest.fixture(scope="module")
def tests(tmp_path_factory):
    """How each test of the project ended, and all that pytest wrote, in two processes."""
    folder = tmp_path_factory.mktemp("project")
    plugin = folder / "mine.py"
    plugin.write_text(PLUGIN)
    (folder / "test_mine.py").write_text(TESTS.replace("PATH", str(plugin)))
    command = [sys.executable, "-m", "pytest", "-v", "-n", "2", "-k", CHOSEN, "-p", "no:cacheprovider"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stdout
    ends = re.findall(r"^\[gw\d\] \[ *\d+%\] (\w+) test_mine\.py::(\S+)", ran.stdout, re.MULTILINE)
    return {name: status for status, name in ends}, ran.stdout


def test_every_check_is_a_test_and_the_last_counts_what_ran(tests):
    ends = {name: status for name, status in tests[0].items() if name.startswith("TestMine::")}
    assert set(ends.values()) == {"PASSED", "SKIPPED"}
    assert ends["TestMine::test_conforms[losses_are_finite]"]
    assert ends["TestMine::test_enough_checks_ran"] == "PASSED"
    assert len(ends) == 1 + len(TRAINER.checks(Tier.QUICK))


def test_a_check_that_fails_is_a_test_that_fails_with_what_was_seen(tests):
    ends, shown = tests
    assert ends["TestFaulty::test_conforms[nothing_is_printed]"] == "FAILED"
    assert "raised OSError: gone" in shown


def test_too_few_checks_are_a_failure(tests):
    ends, shown = tests
    assert ends["TestFew::test_enough_checks_ran"] == "FAILED"
    assert "too few ran, tier quick asks for 1000" in shown


def test_a_subject_that_is_not_there_is_an_error_that_names_it(tests):
    ends, shown = tests
    assert ends["TestTypo::test_enough_checks_ran"] == "FAILED"
    assert "unknown trainer 'sequence_mach'; did you mean 'sequence_match'" in shown
