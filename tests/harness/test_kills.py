"""``kill -9`` at any moment, for real: the study goes on to the table of a run that nobody killed, bit for bit."""

from __future__ import annotations

import pytest
from faults import run_and_die
from stateful import equal, stateful_study

import harness

MOMENTS = {
    "before the first step": [("torch.optim:AdamW.step", 1, "before")],
    "in the second trial": [("torch.optim:AdamW.step", 11, "after")],
    "in sampling roll-outs": [("trainers.replay:ReplayBuffer._sample", 2, "after")],
    "in an evaluation on the way": [("harness.evaluation:generate", 2, "after")],
    "in generation": [("harness.execution:generate", 1, "before")],
    "in feature extraction": [("metrics.mauve:Mauve._features", 2, "before")],
    "in writing a checkpoint": [("safetensors.torch:save_file", 2, "half")],
    "in writing a policy": [("trainers.policy:Policy.save", 1, "after")],
    "in writing the tables of a trial": [("pandas:DataFrame.to_parquet", 3, "half")],
    "in writing the long table": [("pandas:DataFrame.to_parquet", 11, "half")],
    "twice in training": [("torch.optim:AdamW.step", 3, "before"), ("torch.optim:AdamW.step", 2, "after")],
    "in training before there is a checkpoint, and in writing the first one": [
        ("torch.optim:AdamW.step", 2, "before"),
        ("safetensors.torch:save_file", 1, "half"),
    ],
    "in training, in reading the checkpoint, and in training again": [
        ("torch.optim:AdamW.step", 4, "after"),
        ("harness.checkpoints:CheckpointFile.load", 1, "after"),
        ("torch.optim:AdamW.step", 2, "after"),
    ],
}


@pytest.mark.parametrize("moments", MOMENTS.values(), ids=MOMENTS)
def test_a_killed_study_goes_on_to_the_table_of_one_that_was_not(moments, llama, whole, tmp_path):
    for function, call, moment in moments:
        assert run_and_die(stateful_study(llama), tmp_path, function, call, moment), "it was not killed there"
        assert set(harness.load_results(tmp_path)["status"]) <= {"finished", "missing"}
    harness.run(stateful_study(llama), tmp_path)
    equal(tmp_path, whole, stateful_study(llama))


@pytest.mark.parametrize("moment", [pytest.param("before", marks=pytest.mark.long), "after"])
def test_a_study_that_is_killed_at_every_rename_one_after_the_other_ends_the_same(moment, llama, whole, tmp_path):
    rename = 1
    while run_and_die(stateful_study(llama), tmp_path, "os:replace", rename, moment):
        rename += 1
        if (tmp_path / "study.json").exists():
            harness.load_results(tmp_path)
        assert rename < 20
    assert rename >= 4
    equal(tmp_path, whole, stateful_study(llama))


def test_a_killed_trial_goes_on_from_its_checkpoint_to_the_same_table(llama, whole, tmp_path, monkeypatch):
    import torch

    assert run_and_die(stateful_study(llama), tmp_path, "torch.optim:AdamW.step", 5, "after")
    steps = []
    original = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda *a, **k: (steps.append(1), original(*a, **k))[1])
    harness.run(stateful_study(llama), tmp_path)
    assert len(steps) == 2 + 6
    equal(tmp_path, whole, stateful_study(llama))
