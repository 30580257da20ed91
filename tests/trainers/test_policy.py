from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import PartialState
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from trainers.actions import BACKSPACE_TOKEN
from trainers.base import Budget, Context
from trainers.behavioral_cloning import BehavioralCloning
from trainers.decoding import Decoder
from trainers.model_spec import FreshModel, LoraSpec, ModelSpec
from trainers.models import build_policy, tokenizer_for
from trainers.policy import Policy
from trainers.tokenizer import train_bpe

MakePolicy = Callable[..., Policy]
TEXTS = ["abcde", "ace", "bead", "cab", "deed", "ebb"]


@torch.no_grad()
def brute_force(policy: Policy, prompt: str, completion: str, finished: bool) -> float:
    """One plain forward pass per token; ``<bksp>`` and forbidden actions are left out of the sum."""
    prefix = policy.prompt_ids(prompt)
    total = 0.0
    left_out = [*policy.actions.forbidden] + ([] if policy.actions.bksp is None else [policy.actions.bksp])
    for action in [*policy.encode(completion), *([policy.actions.eos] if finished else [])]:
        logits = policy.model(torch.tensor([prefix])).logits[0, -1].double()
        logits[left_out] = -math.inf
        total += float(logits.log_softmax(-1)[action])
        prefix = [*prefix, action]
    return total


@pytest.mark.parametrize("backspace", [False, True])
def test_log_likelihood_equals_brute_force(make_policy: MakePolicy, backspace: bool) -> None:
    policy = make_policy(backspace=backspace)
    cases = [("a", "bcd", True), ("", "eeeee", False), ("abc", "d", True), ("e", "", True)]
    sums, counts = policy.log_likelihood(*map(list, zip(*cases, strict=True)), batch_size=3)
    assert sums == pytest.approx([brute_force(policy, *case) for case in cases], abs=1e-4)
    assert counts.tolist() == [4, 5, 2, 1]


def test_path_probabilities_are_those_of_the_decoder(make_policy: MakePolicy) -> None:
    policy = make_policy()
    letters = policy.encode("abcde")
    paths = np.array([[letters[0], letters[1]], [letters[4], letters[4]]])
    found = policy.path_probabilities("b", paths, Decoder(top_k=3))
    assert found.shape == (2, 3, policy.actions.size)
    assert found.sum(-1) == pytest.approx(np.ones((2, 3)))
    assert ((found > 0).sum(-1) == 3).all()
    everything = policy.path_probabilities("b", paths)
    assert (everything[:, 0, policy.actions.bksp] == 0).all()
    assert (everything[:, 1:, policy.actions.bksp] > 0).all()
    assert (everything[..., list(policy.actions.forbidden)] == 0).all()
    with torch.no_grad():
        plain = policy.model(torch.tensor([[*policy.prompt_ids("b"), *paths[0]]])).logits[0, -1].double()
    plain[list(policy.actions.forbidden)] = -math.inf
    assert everything[0, 2] == pytest.approx(plain.softmax(-1).numpy(), abs=1e-6)


def test_scoring_switches_dropout_off_and_back_on(make_policy: MakePolicy) -> None:
    policy = make_policy()
    policy.model.config.attention_dropout = 0.5
    for layer in policy.model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    frozen = policy.model.model.layers[0]
    policy.model.train()
    frozen.eval()
    modes = [module.training for module in policy.model.modules()]
    paths = np.array([policy.encode("ae")])
    both = [(policy.log_likelihood(["a"], ["bcd"], [True])[0], policy.path_probabilities("b", paths)) for _ in range(2)]
    assert both[0][0] == both[1][0]
    assert np.array_equal(both[0][1], both[1][1])
    assert [module.training for module in policy.model.modules()] == modes
    assert {True, False} == set(modes)


def test_generations_are_a_table(make_policy: MakePolicy) -> None:
    policy = make_policy()
    table = policy.generate(["a", "b"] * 50, Decoder(), 3, 6, 24)
    assert table["prompt"].tolist() == ["a", "b"] * 50
    for row in table.itertuples():
        assert policy.tokenizer.decode(row.completion_ids) == row.completion
        assert row.n_actions == len(row.actions)
        assert row.n_backspaces == row.actions.count(policy.actions.bksp)
        assert row.n_actions - 2 * row.n_backspaces - (row.finish == "eos") == len(row.completion_ids)
    assert table["n_backspaces"].sum() > 0


@pytest.mark.parametrize("backspace", [False, True])
def test_a_saved_policy_is_an_ordinary_folder(make_policy: MakePolicy, tmp_path: Path, backspace: bool) -> None:
    policy = make_policy(backspace=backspace)
    policy.save(tmp_path)
    loaded = Policy.load(tmp_path)
    assert loaded.actions == policy.actions
    first, second = (each.generate(["a"] * 20, Decoder(), 3, 6, 24) for each in (policy, loaded))
    assert first.equals(second)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.tensor([policy.prompt_ids("abc")])
    assert torch.equal(plain(ids).logits, policy.model(ids).logits)
    assert (BACKSPACE_TOKEN in AutoTokenizer.from_pretrained(tmp_path).get_vocab()) == backspace
    assert json.loads((tmp_path / "action_space.json").read_text())["bksp"] == policy.actions.bksp


def test_a_folder_without_an_action_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not a saved policy"):
        Policy.load(tmp_path)


def test_backspace_changes_no_other_weight_and_starts_as_the_mean(spec: ModelSpec) -> None:
    tokenizer = tokenizer_for(spec, lambda: iter(TEXTS), None)
    plain, extended = (build_policy(spec, tokenizer, backspace=flag, seed=5) for flag in (False, True))
    assert BACKSPACE_TOKEN not in tokenizer.get_vocab()
    bksp = extended.actions.bksp
    assert bksp == plain.actions.size == extended.actions.size - 1
    for (name, mine), theirs in zip(plain.model.named_parameters(), extended.model.parameters(), strict=True):
        if "embed_tokens" in name or "lm_head" in name:
            torch.testing.assert_close(theirs[bksp], mine.mean(0))
            theirs = theirs[:bksp]
        assert torch.equal(mine, theirs), name


def test_seeds_make_weights(spec: ModelSpec) -> None:
    tokenizer = tokenizer_for(spec, lambda: iter(TEXTS), None)
    before = torch.get_rng_state()
    heads = [
        build_policy(spec, tokenizer, backspace=False, seed=seed).model.get_output_embeddings().weight
        for seed in (0, 0, 1)
    ]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert torch.equal(before, torch.get_rng_state())


def test_tied_and_padded_embeddings(tmp_path: Path) -> None:
    """A model with more rows than tokens: the spare rows are no actions, and ``<bksp>`` takes the first of them."""
    tokenizer = train_bpe(TEXTS, 0, "seen")
    GPT2LMHeadModel(GPT2Config(vocab_size=16, n_embd=8, n_layer=1, n_head=1, n_positions=32)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    spec = ModelSpec(path=str(tmp_path))
    policy = build_policy(spec, tokenizer_for(spec, lambda: iter([]), None), backspace=True, seed=0)
    assert policy.actions.bksp == len(tokenizer)
    assert policy.actions.size == 16
    assert set(range(len(tokenizer) + 1, 16)) <= set(policy.actions.forbidden)
    assert policy.model.get_input_embeddings().weight is policy.model.get_output_embeddings().weight
    assert policy.max_positions == 32


@pytest.mark.parametrize("tied", [False, True])
def test_lora_trains_adapters_and_the_row_of_backspace_only(tmp_path: Path, spec: ModelSpec, tied: bool) -> None:
    tokenizer = tokenizer_for(spec, lambda: iter(TEXTS), None)
    base = build_policy(spec, tokenizer, backspace=False, seed=0)
    base.model.config.tie_word_embeddings = tied
    base.model.tie_weights()
    base.save(tmp_path / "base")
    adapted_spec = ModelSpec(path=str(tmp_path / "base"), lora=LoraSpec(rank=2))
    policy = build_policy(adapted_spec, tokenizer_for(adapted_spec, lambda: iter([]), None), backspace=True, seed=0)
    before = policy.model.get_output_embeddings().weight.detach().clone()
    examples = Dataset.from_dict({"prompt": ["a"] * 8, "completion": ["bcd"] * 8, "finished": [True] * 8})
    seeds = {"order": 1, "noise": 2, "rollout": 3, "dropout": 4}
    BehavioralCloning(noise=0.5).fit(policy, examples, Budget(steps=5), Context(seeds=seeds))
    policy.save(tmp_path / "tuned")
    tuned = Policy.load(tmp_path / "tuned")
    after = tuned.model.get_output_embeddings().weight.detach()
    bksp = tuned.actions.bksp
    assert bksp is not None
    assert not torch.equal(after[bksp], before[bksp])
    assert torch.equal(after[:bksp], before[:bksp])
    ids = torch.tensor([policy.prompt_ids("abc")])
    torch.testing.assert_close(tuned.model(ids).logits, policy.model(ids).logits, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(tuned.model(ids).logits[..., :bksp], base.model(ids).logits, atol=1e-4)


def test_a_model_has_exactly_one_source() -> None:
    with pytest.raises(ValueError, match="exactly one of fresh, path and hub, got none"):
        ModelSpec()
    with pytest.raises(ValueError, match="got fresh and hub"):
        ModelSpec(fresh=FreshModel(), hub="gpt2")
    with pytest.raises(ValueError, match="fresh weights are float32, not bfloat16: set optimization"):
        ModelSpec(fresh=FreshModel(), dtype="bfloat16")
    for lora, problem in (({"rank": 0}, "rank must be at least 1, got 0"), ({"dropout": 1.0}, r"lie in \[0, 1\)")):
        with pytest.raises(ValueError, match=problem):
            LoraSpec(**lora)
    with pytest.raises(ValueError, match="no multiple of 3 heads"):
        FreshModel(hidden_size=16, num_attention_heads=3)
    with pytest.raises(ValueError, match="start_token '<nope>'"):
        build_policy(
            ModelSpec(fresh=FreshModel(hidden_size=8), start_token="<nope>"),
            train_bpe(TEXTS, 0, "seen"),
            backspace=False,
            seed=0,
        )


def test_trained_tokenizers(tmp_path: Path) -> None:
    seen = train_bpe(["a1 b22", "ab 1"], 0, "seen")
    assert set(seen.get_vocab()) == {"<pad>", "<s>", "</s>", "a", "b", "1", "2", "Ġ"}
    assert "Ġ" not in train_bpe(["ab", "ba"], 0, "seen").get_vocab()
    whole = train_bpe(["hello hello", "12 1212"], 50, "bytes")
    assert whole.decode(whole.encode("naïve 東京 12", add_special_tokens=False)) == "naïve 東京 12"
    assert len(whole.encode("1212", add_special_tokens=False)) == 4
    with pytest.raises(ValueError, match="there is no text"):
        train_bpe([""], 0, "seen")
    spec = ModelSpec(fresh=FreshModel(merges=3))
    first, second = (tokenizer_for(spec, lambda: iter(TEXTS), tmp_path) for _ in range(2))
    assert first.get_vocab() == second.get_vocab()
    assert len(list((tmp_path / "tokenizers").iterdir())) == 1
    tokenizer_for(spec, lambda: iter([*TEXTS, "x"]), tmp_path)
    assert len(list((tmp_path / "tokenizers").iterdir())) == 2


def test_policies_are_on_the_device_that_accelerate_trains_on(
    make_policy: MakePolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The meta device stands for a GPU here: moved there, a model has no weights left, but is elsewhere."""
    make_policy().save(tmp_path / "policy")
    monkeypatch.setitem(PartialState()._shared_state, "device", torch.device("meta"))
    assert {make_policy().device.type, Policy.load(tmp_path / "policy").device.type} == {"meta"}
