"""The pytest classes in a project of a user, run by a real pytest in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = """
from dataclasses import dataclass
from trainers.pretrained import Pretrained

@dataclass(frozen=True, kw_only=True)
class Mine(Pretrained):
    def fit(self, policy, examples, budget, context):
        BODY
        return policy
"""
TESTS = """
from harness.testing import TrainerTests

class TestMine(TrainerTests):
    subject = "PATH:Mine"
"""


@pytest.fixture
def project(tmp_path: Path):
    def run(body: str, *arguments: str, extra: str = "") -> subprocess.CompletedProcess[str]:
        plugin = tmp_path / "mine.py"
        plugin.write_text(PLUGIN.replace("BODY", body))
        (tmp_path / "test_mine.py").write_text(TESTS.replace("PATH", str(plugin)) + extra)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


def test_every_check_is_a_test_and_the_last_counts_what_ran(project):
    ran = project("pass", "-n", "2")
    assert ran.returncode == 0, ran.stdout
    listed = project("pass", "--collect-only").stdout.splitlines()
    names = [line.partition("::")[2] for line in listed if "::" in line]
    assert "TestMine::test_conforms[losses_are_finite]" in names
    assert names[-1] == "TestMine::test_enough_checks_ran"


def test_a_check_that_fails_is_a_test_that_fails_with_what_was_seen(project):
    ran = project("raise OSError('gone')", "-k", "nothing_is_printed")
    assert ran.returncode == 1
    assert "raised OSError: gone" in ran.stdout


def test_too_few_checks_are_a_failure(project):
    few = (
        "\nimport dataclasses\nfrom harness.testing import Tier\nfrom harness.testing.trainer import TRAINER\n"
        "TRAINER.minimum[Tier.QUICK] = 1000\n"
    )
    ran = project("pass", "-k", "enough", extra=few)
    assert ran.returncode == 1
    assert "too few ran, tier quick asks for 1000" in ran.stdout


def test_a_subject_that_is_not_there_is_an_error_that_names_it(project):
    extra = "\n\nclass TestTypo(TrainerTests):\n    subject = 'sequence_mach'\n"
    ran = project("pass", "-k", "Typo and enough", extra=extra)
    assert ran.returncode == 1
    assert "unknown trainer 'sequence_mach'; did you mean 'sequence_match'" in ran.stdout
