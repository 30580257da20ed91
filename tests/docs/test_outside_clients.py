"""Programs that know nothing of seqmatch evaluate its policies, as the page about them says."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from environments import environment
from pages import ROOT, blocks, run_python

from harness import load_results
from trainers.decoding import Decoder
from trainers.model_spec import FreshModel, ModelSpec
from trainers.models import build_policy
from trainers.policy import Policy
from trainers.tokenizer import train_bpe

PAGE = ROOT / "docs" / "outside-clients.md"
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the page was followed: study, results, questions and tasks."""
    place = tmp_path_factory.mktemp("outside")
    contents = {language: [] for language in ("toml", "yaml", "python", "text", "")}
    for block in blocks(PAGE.read_text()):
        contents[block.language].append(block.content)
    (study,) = contents["toml"]
    (place / "study.toml").write_text(study)
    (place / "tasks").mkdir()
    for task in contents["yaml"]:
        (place / "tasks" / f"{re.match('task: (.*)', task)[1]}.yaml").write_text(task)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(place / "modules"))
        assert run_python(PAGE) == 2
    return place


def trial(folder, trainer):
    (found,) = (folder / "results" / "trials").glob(f"{trainer}-*")
    return found


@pytest.fixture(scope="module")
def lm_eval(pytestconfig, tmp_path_factory):
    """Run the command of the page on a policy and return its numbers, and its samples in the order of the questions."""
    made = environment(pytestconfig, "lm-eval", "lm_eval")

    def run(policy, tasks, place, arguments=""):
        scores = tmp_path_factory.mktemp("scores")
        model = f"pretrained={policy},dtype=float32{arguments}"
        command = ["--model", "hf", "--model_args", model, "--tasks", tasks, "--include_path", place / "tasks"]
        places = {name: str(scores / name) for name in ("HF_DATASETS_CACHE", "HF_MODULES_CACHE")}
        output = ["--output_path", scores / "out", "--log_samples", "--device", "cpu", "--batch_size", "16"]
        done = made.python("-m", "lm_eval", *command, *output, cwd=place, variables=places)
        assert done.returncode == 0, done.stderr
        (numbers,) = (scores / "out").glob("*/results_*.json")
        samples = {}
        for task in tasks.split(","):
            (file,) = (scores / "out").glob(f"*/samples_{task}_*.jsonl")
            rows = [json.loads(line) for line in file.read_text().splitlines()]
            samples[task] = [row["resps"][0][0] for row in sorted(rows, key=lambda row: row["doc_id"])]
        return json.loads(numbers.read_text())["results"], samples

    return run


@pytest.fixture(scope="module")
def scored(folder, lm_eval):
    """What lm-evaluation-harness says of the policy of maximum likelihood."""
    return lm_eval(trial(folder, "mle") / "policy", "answers,likelihood", folder)


def accuracy(folder, trainer):
    table = load_results(folder / "results")
    (value,) = table[(table["trainer"] == trainer) & (table["metric"] == "accuracy")]["value"]
    return value


def test_exact_match_is_the_accuracy_of_the_study_answer_for_answer(folder, scored):
    numbers, samples = scored
    ours = pd.read_parquet(trial(folder, "mle") / "generations.parquet")
    assert samples["answers"] == list(ours["completion"])
    assert numbers["answers"]["exact_match,none"] == pytest.approx(accuracy(folder, "mle"))
    assert 0.05 < accuracy(folder, "mle") < 0.95


def test_a_trusted_policy_erases_in_lm_eval_too(folder, lm_eval):
    name = "sequence_match_backspace"
    numbers, samples = lm_eval(trial(folder, name) / "policy", "answers", folder, ",trust_remote_code=True")
    ours = pd.read_parquet(trial(folder, name) / "generations.parquet")
    assert ours["n_backspaces"].sum() > 0
    assert samples["answers"] == list(ours["completion"])
    assert numbers["answers"]["exact_match,none"] == pytest.approx(accuracy(folder, name))


def test_without_trust_a_policy_writes_as_if_it_could_not_erase(folder):
    from transformers import pipeline

    saved = trial(folder, "sequence_match_backspace")
    prompts = list(pd.read_parquet(saved / "generations.parquet")["prompt"])
    write = pipeline("text-generation", model=str(saved / "policy"))
    texts = write(prompts, do_sample=False, max_new_tokens=4, return_full_text=False)
    policy = Policy.load(saved / "policy")
    actions = replace(policy.actions, bksp=None, forbidden=(*policy.actions.forbidden, policy.actions.bksp))
    ours = replace(policy, actions=actions).generate(prompts, Decoder(temperature=0), 0, 4, 16)
    assert [text[0]["generated_text"] for text in texts] == list(ours["completion"])


def moved(prompts, answers):
    """White space at the end of a prompt becomes part of the answer."""
    bare = [prompt.rstrip() for prompt in prompts]
    return bare, [prompt[len(one) :] + answer for prompt, one, answer in zip(prompts, bare, answers, strict=True)]


def test_log_likelihoods_differ_by_white_space_and_by_what_is_no_action_and_by_nothing_else(folder, scored):
    numbers, samples = scored
    theirs = np.array([float(sample[0]) for sample in samples["likelihood"]])
    policy = Policy.load(trial(folder, "mle") / "policy")
    ours = pd.read_parquet(trial(folder, "mle") / "generations.parquet")
    prompts, answers = moved(ours["prompt"], ours["reference"])
    unmasked = replace(policy, actions=replace(policy.actions, forbidden=()))
    sums, counts = unmasked.log_likelihood(prompts, answers, [False] * len(prompts))
    np.testing.assert_allclose(theirs, sums, atol=1e-3)
    assert numbers["likelihood"]["perplexity,none"] == pytest.approx(np.exp(-sums.mean()), rel=1e-3)
    masked, _ = policy.log_likelihood(prompts, answers, [False] * len(prompts))
    assert ((masked - theirs > 0) & (masked - theirs < 0.05 * counts)).all()


def test_log_likelihoods_are_equal_where_every_token_is_an_action(folder, lm_eval, tmp_path):
    """As with GPT-2, whose end token begins prompts and pads."""
    tokenizer = train_bpe(["abcde fgh"], 0, "seen")
    tokenizer.bos_token = tokenizer.pad_token = tokenizer.eos_token
    spec = ModelSpec(fresh=FreshModel(hidden_size=32, max_position_embeddings=32))
    policy = build_policy(spec, tokenizer, backspace=False, seed=0)
    assert policy.actions.forbidden == ()
    for weights in policy.model.parameters():
        if weights.ndim == 2:
            weights.data.mul_(10)
    policy.save(tmp_path / "policy")
    rows = pd.DataFrame({"prompt": ["", "a", "bad", "head", "a c"], "reference": ["beef", "bc", " cafe", "e", "d d"]})
    rows.to_json(tmp_path / "questions.jsonl", orient="records", lines=True)
    (tmp_path / "tasks").symlink_to(folder / "tasks")
    _, samples = lm_eval(tmp_path / "policy", "likelihood", tmp_path)
    sums, _ = policy.log_likelihood(rows["prompt"], rows["reference"], [False] * len(rows))
    theirs = [float(sample[0]) for sample in samples["likelihood"]]
    print(f"largest difference of the log-likelihoods: {np.abs(sums - theirs).max():.1e}")
    np.testing.assert_allclose(theirs, sums, atol=1e-3)
    assert torch.isfinite(torch.tensor(theirs)).all()
    assert sums.std() > 1
