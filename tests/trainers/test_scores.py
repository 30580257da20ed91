from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from trainers.actions import ActionSpace
from trainers.batches import Sequences, Trajectory, collate
from trainers.model_spec import LoraSpec, ModelSpec
from trainers.models import build_policy, tokenizer_for
from trainers.objective import slots_that_count
from trainers.policy import Policy
from trainers.scores import choice_scores, score
from trainers.tokenizer import train_bpe

MakePolicy = Callable[..., Policy]
SPACE = ActionSpace(size=8, start=5, eos=6, bksp=7, forbidden=(0, 5))


def reference(logits: Tensor, choices: Tensor, at_root: Tensor) -> tuple[Tensor, Tensor]:
    """Row by row over the possible actions alone, with nothing masked."""
    q, v = [], []
    for row, root in zip(logits, at_root.tolist(), strict=True):
        possible = [action for action in range(8) if action not in (0, 5) and not (root and action == 7)]
        v.append(row[possible].exp().sum().log())
    for row, chosen in zip(logits, choices, strict=True):
        q.append(row[chosen])
    return torch.stack(q), torch.stack(v)


@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 4))
def test_scores_and_gradients_equal_a_reference(seed: int, rows: int, many: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = (4 * torch.randn(rows, 8, generator=generator, dtype=torch.float64)).requires_grad_()
    choices = torch.tensor([1, 2, 3, 4, 6])[torch.randint(5, (rows, many), generator=generator)]
    at_root = torch.rand(rows, generator=generator) < 0.5
    weights = torch.randn(rows, many + 1, generator=generator, dtype=torch.float64)
    gradients = []
    for q, v in (choice_scores(logits, choices, at_root, SPACE), reference(logits, choices, at_root)):
        total = (weights * torch.cat([q, v[:, None]], 1)).sum()
        gradients.append((q, v, torch.autograd.grad(total, logits)[0]))
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[0, 3e4, -3e4, 1.0, 2.0, 9e9, 0, 9e9]]).requires_grad_()
    q, v = choice_scores(logits, torch.tensor([[2]]), torch.tensor([True]), SPACE)
    assert v.item() == pytest.approx(3e4)
    (v - q).sum().backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0, 1, -1, 0, 0, 0, 0, 0]]


def test_low_precision_logits_are_scored_in_float32() -> None:
    logits = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    _, v = choice_scores(logits, torch.full((3, 1), 2), torch.zeros(3, dtype=torch.bool), SPACE)
    assert v.dtype == torch.float32
    v.sum().backward()
    assert logits.grad is not None
    assert logits.grad.dtype == torch.bfloat16


def batch(policy: Policy) -> Sequences:
    bksp = policy.actions.bksp
    texts = [("a", "bcd", True), ("", "ebb", False), ("dead", "a", True)]
    found = []
    for prompt, completion, ends in texts:
        ids = policy.encode(completion)
        erased = [ids[0], bksp, *ids] if bksp is not None else ids
        actions = tuple([*erased, policy.actions.eos] if ends else erased)
        expert = (bksp is None, *[True] * (len(actions) - 1))
        found.append(Trajectory(tuple(policy.prompt_ids(prompt)), actions, ends, expert))
    return collate(found, bksp)


def tied_gpt2(tmp_path: Path) -> Policy:
    tokenizer = train_bpe(["abcde"], 0, "seen")
    GPT2LMHeadModel(GPT2Config(vocab_size=16, n_embd=8, n_layer=1, n_head=1, n_positions=32)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    spec = ModelSpec(path=str(tmp_path), lora=LoraSpec(rank=2))
    policy = build_policy(spec, tokenizer_for(spec, lambda: iter([]), None), backspace=True, seed=0)
    policy.model.eval()
    return policy


@pytest.mark.parametrize("kind", ["plain", "backspace", "tied gpt2 with adapters"])
def test_scores_are_those_of_the_logits_of_all_slots(kind: str, make_policy: MakePolicy, tmp_path: Path) -> None:
    policy = tied_gpt2(tmp_path) if "gpt2" in kind else make_policy(backspace=kind == "backspace")
    sequences = batch(policy)
    where = slots_that_count(sequences)
    scores, hidden = score(policy, sequences, where)
    logits = policy.logits(sequences)
    torch.testing.assert_close(scores.v[where], logits.logsumexp(-1)[where], atol=1e-5, rtol=1e-5)
    taken = logits.gather(-1, sequences.labels.clamp(min=0)[..., None])[..., 0]
    torch.testing.assert_close(scores.q[sequences.acts], taken[sequences.acts], atol=1e-5, rtol=1e-5)
    ends = sequences.terminal
    torch.testing.assert_close(scores.q[ends], logits[ends][:, policy.actions.eos], atol=1e-5, rtol=1e-5)
    assert not scores.q[~where].any()
    assert not scores.v[~where].any()
    assert hidden.shape == (int(where.sum()), policy.model.get_output_embeddings().weight.shape[1])
    output = policy.model.get_output_embeddings()(hidden)
    torch.testing.assert_close(
        policy.actions.mask(output, sequences.at_root[where]), logits[where], atol=1e-5, rtol=1e-5
    )
    assert not policy.model.get_output_embeddings()._forward_pre_hooks, "the model is left as it was"


def test_slots_that_count(make_policy: MakePolicy) -> None:
    """Prompt ``s``; noise ``a`` and its erasure, then ``b`` and the end, or a cut."""
    a, b, bksp, eos = 1, 2, 7, 6
    for finished in (True, False):
        actions = (b, a, bksp, eos) if finished else (b, a, bksp, b)
        one = collate([Trajectory((4, 5), actions, finished, (True, False, True, True))], bksp)
        assert one.acts.tolist() == [[False, True, False, True, True, False]]
        assert slots_that_count(one).tolist() == [[False, True, True, True, True, True]]
    noise_last = collate([Trajectory((5,), (a, bksp), False, (False, True))], bksp)
    assert slots_that_count(noise_last).tolist() == [[False, True, True]]


def test_a_head_that_is_not_called_is_named(make_policy: MakePolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = make_policy(backspace=False)
    sequences = batch(policy)
    monkeypatch.setattr(type(policy.model), "get_output_embeddings", lambda self: torch.nn.Linear(2, 2))
    with pytest.raises(TypeError, match="LlamaForCausalLM does not call"):
        score(policy, sequences, sequences.acts)
