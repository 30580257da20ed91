from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["tasks", "tasks.arithmetic", "tasks.text", "tasks.language"])
def test_importing_a_task_loads_nothing_heavy(module):
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert module in loaded
    assert not {"torch", "transformers", "datasets", "pandas", "sympy", "mathematics_dataset"} & set(loaded)
