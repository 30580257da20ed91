"""Two implementations of maximum likelihood, held against each other at every optimiser step."""

from __future__ import annotations

import pytest
import torch
from seqmatch_trl.running import tokens
from seqmatch_trl.sft import SFT

from trainers.batches import trajectories_of
from trainers.mle import MaximumLikelihood


@pytest.mark.parametrize("accumulation", [1, 3])
def test_sft_and_mle_have_the_same_losses_step_by_step(fit, accumulation):
    (ours, curve), (theirs, other) = (fit(each, accumulation=accumulation) for each in (MaximumLikelihood(), SFT()))
    assert [row["step"] for row in curve] == [row["step"] for row in other] == list(range(1, 21))
    largest = max(abs(mine["loss"] - its["loss"]) for mine, its in zip(curve, other, strict=True))
    print(f"largest difference of the losses over 20 optimiser steps: {largest:.1e}")
    assert largest < 1e-5
    for mine, its in zip(curve, other, strict=True):
        assert its["tokens"] == mine["tokens"]
        assert its["flops"] == mine["flops"]
        assert its["learning_rate"] == pytest.approx(mine["learning_rate"])
        assert its["grad_norm"] == pytest.approx(mine["grad_norm"], rel=1e-3)
    for mine, its in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(its, mine, rtol=0, atol=1e-4)


def test_rows_of_the_learning_curve_are_those_of_the_shared_loop(fit):
    (_, curve), (_, other) = (fit(each, log_every=6) for each in (MaximumLikelihood(), SFT()))
    assert [row["step"] for row in other] == [row["step"] for row in curve] == [1, 7, 13, 19, 20]


def test_only_completions_are_learnt_and_the_end_only_where_there_is_one(make_policy, examples):
    policy = make_policy()
    for trajectory, finished in zip(trajectories_of(examples, policy), examples["finished"], strict=True):
        row = tokens(trajectory)
        prompt, completion = len(trajectory.prompt), len(trajectory.actions)
        assert row["labels"] == [-100] * prompt + row["input_ids"][prompt:]
        assert len(row["input_ids"]) == prompt + completion
        assert (row["labels"][-1] == policy.actions.eos) == finished
