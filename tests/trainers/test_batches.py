from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from strategies import action_strings

from trainers.backspace import BACKSPACE, IGNORE, layout
from trainers.base import Context, TrainerError
from trainers.batches import Trajectory, collate, trajectories_of
from trainers.policy import Policy
from trainers.replay import ReplayBuffer
from trainers.rollouts import Rollouts
from trainers.sequence_match import SequenceMatch

MakePolicy = Callable[..., Policy]


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 4), min_size=1, max_size=3), action_strings()), min_size=1, max_size=4)
)
def test_padded_layouts_are_the_layouts(cases: list[tuple[list[int], list[int]]]) -> None:
    batch = collate([Trajectory(tuple(p), tuple(a), False, (True,) * len(a)) for p, a in cases], BACKSPACE)
    mask = batch.attention_mask()
    assert (mask is None) == (not any(BACKSPACE in actions for _, actions in cases))
    for row, (prompt, actions) in enumerate(cases):
        one, slots = layout(prompt, actions), len(prompt) + len(actions)
        assert batch.input_ids[row, :slots].tolist() == one.input_ids.tolist()
        assert (batch.labels[row, slots:] == IGNORE).all()
        assert batch.acts[row].sum() == len(actions)
        if mask is not None:
            assert torch.equal(mask[row, 0, :slots, :slots], torch.from_numpy(one.mask()))
            assert not mask[row, 0, :slots, slots:].any()
            assert mask[row, 0].any(-1).all(), "a row that sees nothing would be NaN"


def test_columns_of_a_trajectory() -> None:
    batch = collate([Trajectory((5, 6), (1, BACKSPACE, 2, 9), True, (False, True, True, True))], BACKSPACE)
    assert batch.step.tolist() == [[0, 0, 1, 2, 3, 4]]
    assert batch.at_root.tolist() == [[False, True, False, True, False, False]]
    assert batch.terminal.tolist() == [[False] * 5 + [True]]
    assert batch.acts.tolist() == [[False, False, True, True, True, False]]
    assert batch.real.tolist() == [[True] * 6]
    with pytest.raises(ValueError, match="empty batch"):
        collate([], BACKSPACE)


def test_padding_changes_no_logits(make_policy: MakePolicy) -> None:
    policy = make_policy()
    bksp = policy.actions.bksp
    assert bksp is not None
    short = Trajectory((1,), (3, bksp, 4), False, (True,) * 3)
    long = Trajectory((1, 5, 6), (3, 4, bksp, 5, 6, 7), False, (True,) * 6)
    alone = policy.logits(collate([short], bksp))
    together = policy.logits(collate([short, long], bksp))
    torch.testing.assert_close(together[:1, : alone.shape[1]], alone, atol=1e-5, rtol=0)


def test_examples_become_trajectories(make_policy: MakePolicy, examples: Dataset) -> None:
    policy = make_policy()
    found = trajectories_of(examples, policy)
    assert [one.finished for one in found] == examples["finished"]
    assert found[0].prompt == (policy.actions.start, *policy.encode("a"))
    assert found[0].actions == (*policy.encode("bcde"), policy.actions.eos)
    assert found[3].actions == tuple(policy.encode("ab"))
    assert all(one.finished for one in trajectories_of(examples.remove_columns("finished"), policy))


@pytest.mark.parametrize("token", ["<bksp>", "</s>", "<pad>", "<s>"])
def test_a_completion_that_spells_out_what_is_no_text_is_an_error_that_names_it(
    token: str, make_policy: MakePolicy
) -> None:
    table = Dataset.from_dict({"prompt": ["a", "b"], "completion": ["ab", f"a{token}b"], "finished": [True, True]})
    with pytest.raises(TrainerError, match=rf"example 1: its completion 'a{token}b' spells out '{token}'"):
        trajectories_of(table, make_policy(backspace=True))


def test_the_replay_buffer_keeps_the_most_recent(make_policy: MakePolicy, context: Context) -> None:
    policy = make_policy()
    wanted = Rollouts(batch=5, refresh=4, capacity=6, refresh_every=2, first_step=4)
    buffer = ReplayBuffer([tuple(policy.prompt_ids("a"))], context, wanted)
    assert buffer.draw(policy, 3) == []
    assert len(buffer.draw(policy, 4)) == 5
    first = list(buffer.kept)
    buffer.draw(policy, 5)
    assert list(buffer.kept) == first
    buffer.draw(policy, 6)
    assert len(buffer.kept) == 6
    assert list(buffer.kept)[:2] == first[2:]
    assert context.meter.generated_tokens > 0
    for one in buffer.kept:
        assert one.finished == (one.actions[-1] == policy.actions.eos)


@pytest.mark.parametrize(("annealing", "last"), [(0.2, 70), (0.5, 100), (1.0, 100)])
def test_cloning_is_annealed_and_then_keeps_its_weight(annealing: float, last: int) -> None:
    trainer = SequenceMatch(cloning_share=0.5, annealing_share=annealing, final_beta=0.2)
    betas = [trainer.beta(step, 101) for step in range(101)]
    assert betas[:51] == [1.0] * 51
    assert betas[50 : last + 1] == pytest.approx(np.linspace(1, 0.2, last - 49))
    assert betas[last:] == pytest.approx([0.2] * (101 - last))


def test_annealing_over_no_steps_is_a_switch() -> None:
    trainer = SequenceMatch(cloning_share=0.5, annealing_share=0.0, final_beta=0.2)
    assert [trainer.beta(step, 10) for step in range(10)] == pytest.approx([1.0] * 5 + [0.2] * 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"divergence": "nope"}, "one of forward_kl, .* chi2_mixture_exact, got 'nope'"),
        ({"alpha": 0.0}, "alpha must lie"),
        ({"gamma": 1.1}, "gamma must lie"),
        ({"final_beta": 2.0}, "final_beta must lie"),
        ({"annealing_share": -0.1}, "annealing_share must lie"),
        ({"refresh": 0}, "refresh must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SequenceMatch(**settings)
