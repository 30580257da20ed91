"""A trainer gives the same in a process of its own, where nothing of this one is left."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from harness.testing.battery import CheckError, Tier, require
from harness.testing.subjects import trainer_of
from harness.testing.trainer.battery import TRAINER
from harness.testing.trainer.comparing import weights
from harness.testing.trainer.subject import TrainerSubject

_CALL = (
    "import json, sys, torch; from harness.testing.trainer.elsewhere import digest; "
    "threads, name, settings = json.loads(sys.argv[1]); torch.set_num_threads(threads); "
    "print(digest(name, settings))"
)


def digest(name: str, settings: Mapping[str, Any]) -> str:
    """A digest of the weights and the learning curve of a short training.

    Args:
        name: of the trainer, as registered, or ``path/to/file.py:Class``.
        settings: of the trainer.
    """
    fitted = TrainerSubject(trainer_of(name, settings)).fit()
    found = hashlib.sha256()
    for key, tensor in sorted(weights(fitted.policy).items()):
        found.update(key.encode() + tensor.float().numpy().tobytes())
    for row in fitted.rows:
        found.update(repr(sorted((key, value) for key, value in row.items() if key != "seconds")).encode())
    return found.hexdigest()


@TRAINER.check(Tier.FULL)
def another_process_gives_the_same_bits(subject: TrainerSubject) -> None:
    """A fresh process with another hash seed, in another folder, gives the same weights and the same curve."""
    import torch

    entry = subject.plugin.entry
    use = entry.target if entry.distribution == "local file" else entry.name
    settings = dict(subject.plugin.settings)
    here = digest(use, settings)
    with tempfile.TemporaryDirectory() as folder:
        ended = subprocess.run(
            [sys.executable, "-c", _CALL, json.dumps([torch.get_num_threads(), use, settings])],
            cwd=folder,
            env={**os.environ, "PYTHONHASHSEED": "20230605", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=False,
        )
    if ended.returncode:
        raise CheckError(f"the trainer does not run in a process of its own: {ended.stderr.strip().splitlines()[-1:]}")
    require(
        ended.stdout.split()[-1] == here,
        "another process gives other weights or another curve: iterate over no set, call no hash() or id(), and read "
        "nothing of the process or the folder",
    )
