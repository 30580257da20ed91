import inspect
import json
import random
from dataclasses import replace
from itertools import product

import pytest
import torch
from small_studies import small_study, small_tables, to_toml, toy

import harness
from harness.costing.architecture import SPECIAL, architecture
from harness.costing.devices import H100, Device
from harness.costing.lengths import lengths
from harness.costing.memory import layer_bytes, memory
from harness.costing.work import ROWS, Work, owns_loop, work
from harness.errors import StudyError
from harness.expansion import plan
from harness.preparation import instance, prepare
from harness.registry import TRAINERS
from trainers.generation import sample
from trainers.tokenizer import train_bpe

LANGUAGE = {"language": {"max_length": 6, "train": 300, "test": 20, "metrics": {"trajectories": {}}}}


def study(trainer, *, tasks=None, model=None, **changes):
    tables = small_tables()
    fresh = {**tables["model"]["fresh"], "hidden_size": 16, **(model or {})}
    changes = {"budget": {"steps": 40}, "optimization": {"batch_size": 8, "learning_rate": 0.01}, **changes}
    return small_study(model={"fresh": fresh}, trainers=trainer, tasks=tasks or LANGUAGE, seeds=1, **changes)


def planned(trainer, **changes):
    (trial,) = plan(study(trainer, **changes)).trials
    sizes = lengths(trial)
    model = architecture(trial, sizes.vocabulary, backspace=instance(TRAINERS, trial.trainer).backspace)
    return trial, sizes, model


def both(trainer, tmp_path, **changes):
    """What is planned, likely and at most, and the row of the results that says what was spent."""
    trial, sizes, model = planned(trainer, **changes)
    likely, most = (work(trial, sizes, model.parameters, most=flag) for flag in (False, True))
    return likely, most, harness.run(study(trainer, **changes), tmp_path / "out").iloc[0]


def test_what_is_written_twice_so_that_a_plan_needs_no_torch_is_the_same():
    assert inspect.signature(sample).parameters["batch_size"].default == ROWS
    assert len(train_bpe(["abc"], 0, "bytes")) == SPECIAL + 256


@pytest.mark.parametrize("trainer", ["mle", "unlikelihood"])
@pytest.mark.parametrize("budget", [{"steps": 40}, {"steps": 40, "tokens": 1000}, {"steps": 40, "seconds": 1e6}])
def test_tokens_and_flops_of_a_training_without_samples_are_exact(tmp_path, trainer, budget):
    likely, most, spent = both({trainer: {}}, tmp_path, budget=budget)
    assert likely == most
    assert (likely.tokens, likely.sampled, likely.flops) == (spent["tokens"], spent["generated_tokens"], spent["flops"])
    assert likely.tokens > 900


def test_noise_is_planned_at_its_mean(tmp_path):
    likely, most, spent = both({"behavioral_cloning": {"noise": 0.2}}, tmp_path, budget={"steps": 100})
    assert likely == most
    assert likely.tokens == pytest.approx(spent["tokens"], rel=0.03)
    assert likely.flops == pytest.approx(spent["flops"], rel=0.03)


def test_noise_of_the_policy_is_read_once_more(tmp_path):
    noise = {"noise": 0.1, "noise_kind": "policy"}
    likely, _, spent = both({"behavioral_cloning": noise}, tmp_path, budget={"steps": 100})
    assert likely.flops == pytest.approx(spent["flops"], rel=0.03)
    parameters = planned({"behavioral_cloning": noise})[2].parameters
    assert likely.flops > 1.2 * 6 * parameters * likely.tokens


@pytest.mark.parametrize("trainer", ["sequence_match", "sequence_match_backspace"])
def test_rollouts_are_bounded_by_most_and_near_the_data_where_the_policy_has_learnt(tmp_path, trainer):
    settings = {"cloning_share": 0.8, "refresh_every": 5, "refresh": 16}
    likely, most, spent = both({trainer: settings}, tmp_path, budget={"steps": 200})
    for name, column in (("tokens", "tokens"), ("sampled", "generated_tokens"), ("flops", "flops")):
        assert spent[column] <= getattr(most, name)
        assert getattr(likely, name) == pytest.approx(spent[column], rel=0.3 if name == "sampled" else 0.1)
    assert likely.sampled > 0


def test_roll_outs_of_unending_windows_fill_their_length(tmp_path):
    words = random.Random(0).choices(["".join(pair) for pair in product("abcdefgh", repeat=5)], k=3000)
    (tmp_path / "text.txt").write_text(" ".join(words))
    text = {"source": str(tmp_path / "text.txt"), "prompt_tokens": 4, "completion_tokens": 6, "train": 50, "test": 5}
    tasks = {"text": {**text, "validation": 5, "metrics": {"trajectories": {}}}}
    likely, most, spent = both({"sequence_match": {}}, tmp_path, tasks=tasks, model={"alphabet": "bytes"})
    assert likely == most
    assert likely.tokens == pytest.approx(spent["tokens"], rel=0.02)
    assert most.tokens >= spent["tokens"]


@pytest.mark.parametrize("trainer", ["mle", "behavioral_cloning"])
@pytest.mark.parametrize("lora", [None, {"rank": 2}])
def test_parameters_and_static_memory_are_those_of_the_real_model(trainer, lora):
    from trainers.models import build_policy

    (trial,) = plan(study({trainer: {}})).trials
    trial = replace(trial, model={**trial.model, "lora": lora and {"rank": 2, "alpha": 16.0, "dropout": 0.0}})
    sizes, backspace = lengths(trial), instance(TRAINERS, trial.trainer).backspace
    found = architecture(trial, sizes.vocabulary, backspace=backspace)
    prepared = prepare(trial)
    policy = build_policy(prepared.model, prepared.tokenizer, backspace=backspace, seed=0)
    real = list(policy.model.parameters())
    trained = [parameter for parameter in real if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    states = [value for state in optimizer.state.values() for value in state.values() if value.dim()]
    held = memory(trial, sizes, found)
    assert (found.parameters, found.trained) == (policy.parameters, sum(each.numel() for each in trained))
    assert found.vocabulary == policy.actions.size
    assert held.weights == sum(each.nbytes for each in real)
    assert held.gradients == sum(each.grad.nbytes for each in trained)
    assert held.states == sum(each.nbytes for each in states)
    assert held.static == held.weights + held.gradients + held.states


@pytest.mark.parametrize(("width", "inner", "heads"), [(64, 256, 4), (128, 128, 2)])
def test_what_a_layer_keeps_is_near_what_autograd_saves(width, inner, heads):
    """In float32: storages that the graph holds, weights left out, of three layers against those of one."""
    from transformers import LlamaForCausalLM

    from trainers.model_spec import FreshModel
    from trainers.models import fresh_config

    def saved(layers):
        fresh = FreshModel(
            hidden_size=width, intermediate_size=inner, num_attention_heads=heads, num_hidden_layers=layers
        )
        model = LlamaForCausalLM(fresh_config(fresh, 50)).train()
        weights = {each.untyped_storage().data_ptr() for each in model.parameters()}
        found, kept = {}, []

        def pack(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                found[storage.data_ptr()] = storage.nbytes()
                kept.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(torch.zeros(4, 32, dtype=torch.long))
        return sum(found.values())

    model = planned({"mle": {}}, model={"hidden_size": width, "intermediate_size": inner, "num_attention_heads": heads})
    assert model[2].element == 4
    assert layer_bytes(model[2]) == pytest.approx((saved(3) - saved(1)) / 2 / (4 * 32), rel=0.03)


def test_checkpointing_and_accumulation_save_activations_and_nothing_else():
    tasks = {"letters": {"use": toy("Letters")}}
    many, few = (
        memory(*planned({"mle": {}}, tasks=tasks, optimization=each, model={"num_hidden_layers": 4}))
        for each in ({"batch_size": 8}, {"batch_size": 8, "accumulation": 4})
    )
    assert many.activations == 4 * few.activations
    assert many.static == few.static
    assert many.checkpointed < many.activations
    assert many.peak() == max(many.static + many.activations, many.weights + many.states + many.sampling)


def test_hours_are_bound_by_what_sampling_reads():
    spent = Work(tokens=10, sampled=5, flops=3.6e15, sampling_flops=0.6e15, passes=100)
    assert Device("a", 1e12).hours(spent, 10**12) == pytest.approx(1.0)
    assert Device("a", 1e12, 1e12 / 36).hours(spent, 10**12) == pytest.approx(3e15 / 1e12 / 3600 + 1.0)
    assert H100.flops == pytest.approx(3.956e14)


def test_roll_outs_of_a_plug_in_are_foreseen(tmp_path):
    (tmp_path / "own.py").write_text(
        "from dataclasses import dataclass\n"
        "from trainers.mle import MaximumLikelihood\n"
        "from trainers.rollouts import Rollouts\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Own(MaximumLikelihood):\n"
        "    def rollouts(self, optimization, steps):\n"
        "        return Rollouts(batch=optimization.batch_size, refresh=8, capacity=8, first_step=steps // 2)\n"
    )
    own = {"one": {"use": f"{tmp_path / 'own.py'}:Own"}}
    likely, most, spent = both(own, tmp_path, budget={"steps": 100})
    assert not owns_loop(instance(TRAINERS, planned(own)[0].trainer))
    assert likely.sampled > 0
    assert spent["generated_tokens"] <= most.sampled
    assert likely.flops == pytest.approx(spent["flops"], rel=0.1)
    assert memory(*planned(own)).activations > memory(*planned({"mle": {}})).activations


def test_a_plug_in_that_does_not_say_what_it_samples_is_named(tmp_path):
    (tmp_path / "own.py").write_text(
        "from dataclasses import dataclass\n"
        "from trainers.mle import MaximumLikelihood\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Own(MaximumLikelihood):\n"
        "    def rollouts(self, optimization, steps):\n"
        "        return 1 / 0\n"
    )
    own = planned({"one": {"use": f"{tmp_path / 'own.py'}:Own"}})
    with pytest.raises(StudyError, match="trainer 'one' does not say what it samples: ZeroDivisionError"):
        memory(*own)


def test_a_trainer_with_a_loop_of_its_own_is_marked():
    assert owns_loop(instance(TRAINERS, plan(small_study()).trials[1].trainer))
    for trainer in ("pretrained", "mle", "sequence_match", "sequence_match_backspace"):
        assert not owns_loop(instance(TRAINERS, plan(study({trainer: {}})).trials[0].trainer))


@pytest.fixture
def printed(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def show(*options, **changes):
        (tmp_path / "s.toml").write_text(to_toml({**small_tables(), **changes}))
        outcome = command("run", "s.toml", "--plan", *options)
        assert (outcome.code, outcome.err) == (0, "")
        assert not (tmp_path / "results").exists()
        return outcome.out

    return show


def test_the_plan_adds_up_over_seeds_and_kinds(printed):
    rows = [line.split() for line in printed(trainers={"mle": {}, "pretrained": {}}).splitlines()]
    mle, total = next(row for row in rows if row[0] == "mle"), next(row for row in rows if row[0] == "total")
    assert mle[2] == "2"
    assert total[1] == "4"
    assert mle[5:] == total[2:]


def test_hours_can_be_those_of_another_device(printed):
    out = printed("--flops-per-second", "1e6", trainers={"mle": {}})
    assert "Hours are of a device of 1e+06 FLOP/s." in out


def test_a_model_that_is_not_here_is_unknown_until_its_config_is_given(printed, tmp_path):
    out = printed(model={"hub": "no/such-model"}, trainers={"mle": {}})
    row = next(line for line in out.splitlines() if line.startswith("mle"))
    assert row.split()[3:] == ["?"] * 8
    assert "the configuration of no/such-model is not on this machine: put its config.json into a folder" in out
    config = {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2}
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "config.json").write_text(json.dumps(config))
    out = printed(model={"path": str(tmp_path / "only")}, trainers={"mle": {}})
    assert "?" not in out
    assert f"the config.json of {tmp_path / 'only'}" in out
    assert "the data in bytes" in out


def test_data_that_cannot_be_read_is_said(printed):
    out = printed(tasks={"letters": {"use": toy("Letters"), "fault": "bug"}})
    assert "Task letters: its examples cannot be read (RuntimeError: a bug in the task)." in out
    assert "it has a loop of its own" in out


def test_a_speed_without_a_plan_is_refused(command, tmp_path):
    outcome = command("run", "quick", "--flops-per-second", "1e12", "--out", tmp_path / "out")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "error: --flops-per-second: only a plan has hours to work out: add --plan\n"
