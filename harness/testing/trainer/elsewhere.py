"""A trainer gives the same in a process of its own, where nothing of this one is left."""

from __future__ import annotations

import hashlib
import json
import tempfile
from contextlib import chdir

import torch

from harness.testing.battery import Tier, require
from harness.testing.processes import call_in_a_process
from harness.testing.subjects import trainer_of
from harness.testing.trainer.battery import TRAINER
from harness.testing.trainer.comparing import weights
from harness.testing.trainer.subject import TrainerSubject


def digest(address: str, settings: str, threads: str) -> str:
    """A digest of the weights and the learning curve of a short training, for another process to compare.

    Args:
        address: of the trainer.
        settings: of the trainer, as JSON.
        threads: of torch.
    """
    torch.set_num_threads(int(threads))
    fitted = TrainerSubject(trainer_of(address, json.loads(settings))).fit()
    found = hashlib.sha256()
    for key, tensor in sorted(weights(fitted.policy).items()):
        found.update(key.encode() + tensor.float().numpy().tobytes())
    for row in fitted.rows:
        found.update(repr(sorted((key, value) for key, value in row.items() if key != "seconds")).encode())
    return found.hexdigest()


@TRAINER.check(Tier.FULL)
def another_process_gives_the_same_bits(subject: TrainerSubject) -> None:
    """A fresh process with another hash seed, in another folder, gives the same weights and the same curve."""
    arguments = subject.plugin.address, json.dumps(dict(subject.plugin.settings)), str(torch.get_num_threads())
    here = digest(*arguments)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        there = call_in_a_process(__name__, "digest", *arguments, hash_seed=20230605)
    require(
        there == here,
        "another process gives other weights or another curve: iterate over no set, call no hash() or id(), and read "
        "nothing of the process or the folder",
    )
