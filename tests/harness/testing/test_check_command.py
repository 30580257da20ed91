import json
import subprocess
import sys
from pathlib import Path

import pytest

PRETRAINED = """
from dataclasses import dataclass
from trainers.pretrained import Pretrained

@dataclass(frozen=True, kw_only=True)
class Mine(Pretrained):
    '''Leaves the policy alone.

    Attributes:
        scale: of nothing.
    '''

    scale: float = 1.0
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(PRETRAINED)
    return f"{path}:Mine"


def test_json_names_the_plug_in_its_settings_and_every_check(command, mine):
    ran = command("check", "trainer", mine, "--set", "scale=2.5", "--json")
    data = json.loads(ran.out)
    assert ran.code == 0
    assert data["subject"] == mine
    assert data["origin"].startswith("local file ")
    assert data["settings"] == {"scale": 2.5}
    assert data["conforms"] is True
    assert len({each["check"] for each in data["outcomes"]}) == len(data["outcomes"]) >= data["minimum"]


def test_a_plug_in_that_does_not_conform_is_exit_code_1_and_a_row_that_says_what_was_seen(command, tmp_path):
    path = tmp_path / "lost.py"
    path.write_text(
        PRETRAINED + "\n    def fit(self, policy, examples, budget, context):\n        raise OSError('gone')\n"
    )
    ran = command("check", "trainer", f"{path}:Mine")
    assert ran.code == 1
    assert "raised OSError: gone" in ran.out
    assert "does not conform" in ran.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trainer", "sequence_mach"], "unknown trainer 'sequence_mach'; did you mean 'sequence_match'"),
        (["metric", "mle"], "unknown metric 'mle'"),
        (["trainer", "mle", "--set", "nose=1"], "trainer 'mle': nose: unknown key"),
        (["trainer", "sequence_match", "--set", "alpha='x'"], "trainer 'sequence_match': alpha: "),
        (["trainer", "sequence_match", "--set", "alpha"], "--set alpha: must look like key.key=value"),
        (["trainer", "sequence_match", "--set", "alpha=-1"], "trainer 'sequence_match': "),
    ],
)
def test_what_cannot_be_checked_is_one_line_and_exit_code_2(command, arguments, message):
    ran = command("check", *arguments)
    assert ran.code == 2
    assert ran.err.startswith(f"error: {message}")
    assert ran.err.count("\n") == 1


def test_help_loads_no_torch():
    code = (
        "import sys; sys.argv = ['seqmatch', 'check', '--help']\n"
        "from harness.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "import harness.testing\n"
        "print([m for m in ('torch', 'transformers', 'pytest', 'pandas') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"
