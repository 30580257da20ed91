"""A function called in another Python process, with other hashes of strings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.testing.battery import CheckError

_MARK = "seqmatch-result "
_SCRIPT = (
    "import importlib, json, sys;"
    " found = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])(*sys.argv[3:]);"
    f" print(); print({_MARK!r} + json.dumps(found))"
)


def call_in_a_process(module: str, function: str, *arguments: str, hash_seed: int) -> Any:
    """What a function of text arguments returns in a new process, as JSON data.

    Args:
        module: where the function is.
        function: its name.
        arguments: of the function.
        hash_seed: PYTHONHASHSEED of the process, on which the order of sets of strings depends.

    Raises:
        CheckError: with its last words, if the process fails.
    """
    home = str(Path(__file__).parents[2])
    path = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": path}
    command = [sys.executable, "-c", _SCRIPT, module, function, *arguments]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    if run.returncode:
        raise CheckError(f"fails in another process: {' '.join(run.stderr.strip().splitlines()[-1:])}")
    reports = [line for line in run.stdout.splitlines() if line.startswith(_MARK)]
    return json.loads(reports[-1].removeprefix(_MARK))
