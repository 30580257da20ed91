import os
import subprocess
import sys

import pytest
from pages import ROOT


@pytest.mark.long
def test_the_page_shows_what_the_plan_of_the_paper_prints(tmp_path):
    command = [sys.executable, "-m", "harness", "run", "paper_text", "--plan"]
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert run.returncode == 0, run.stderr
    assert run.stdout in (ROOT / "docs" / "cost.md").read_text(), f"paste into docs/cost.md:\n{run.stdout}"
