import math
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metrics.base import MetricContext, MetricError
from metrics.generative_perplexity import GenerativePerplexity
from metrics.language_model import likelihoods
from metrics.markov import save_markov_chain

TRANSITIONS = [[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.3, 0.1, 0.6]]


def measure(model, completions, references, prompts=None, **options):
    table = pd.DataFrame(
        {"prompt": prompts or ["a"] * len(completions), "completion": completions, "reference": references}
    )
    return GenerativePerplexity(model=model, **options).compute(table, MetricContext())


def direct(model, prompt, text, start):
    """Log-likelihood of one text alone, token by token, in float64 after the model."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, network = AutoTokenizer.from_pretrained(model), AutoModelForCausalLM.from_pretrained(model)
    before = [start, *tokenizer(prompt, add_special_tokens=False)["input_ids"]]
    after = tokenizer(text, add_special_tokens=False)["input_ids"] or [tokenizer.eos_token_id]
    nats = 0.0
    for token in after:
        with torch.no_grad():
            nats += network(torch.tensor([before])).logits[0, -1].double().log_softmax(-1)[token].item()
        before.append(token)
    return nats


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    return save_markov_chain(tmp_path_factory.mktemp("chain"), "ab", TRANSITIONS)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.text("ab", max_size=9), st.text("ab", max_size=9)), min_size=1, max_size=20))
def test_likelihoods_of_a_markov_chain(chain, rows):
    prompts, texts = map(list, zip(*rows, strict=True))
    scored = likelihoods(prompts, texts, chain, 64)
    tokens = {"a": 0, "b": 1}
    for (prompt, text), score, count in zip(rows, scored.scores, scored.counts, strict=True):
        path = [([2] + [tokens[c] for c in prompt])[-1], *([tokens[c] for c in text] or [2])]
        nats = [math.log(TRANSITIONS[i][j]) for i, j in pairwise(path)]
        assert score == pytest.approx(math.fsum(nats), abs=1e-5)
        assert count == len(nats)
    assert scored.empty == texts.count("")


@pytest.mark.assets
@pytest.mark.long
def test_likelihoods_of_a_real_model_equal_those_of_single_texts(smollm2):
    prompts = ["We the", "", "The state of the union", "a", ""]
    texts = [" people of the United States", "My fellow citizens:", "", "é", ""]
    scored = likelihoods(prompts, texts, smollm2, 64)
    expected = [direct(smollm2, prompt, text, start=1) for prompt, text in zip(prompts, texts, strict=True)]
    assert scored.scores.tolist() == pytest.approx(expected, abs=1e-3)


@pytest.mark.assets
def test_repetition_lies_below_and_noise_above_the_human_value(smollm2):
    human = [" is strong, because our people are strong and free."] * 2
    prompts = ["The state of our union"] * 2
    loop = measure(smollm2, [" is strong. The state of our union is strong." * 3] * 2, human, prompts)
    noise = measure(smollm2, [" free strong is people, our because are."] * 2, human, prompts)
    assert loop["generative_perplexity"] < loop["generative_perplexity_human"] < noise["generative_perplexity"]


def test_tokens_are_pooled_over_texts_on_each_side_alone(chain):
    found = measure(chain, ["aa", "b"], ["b", "ba"])
    assert found["generative_perplexity"] == pytest.approx((0.7 * 0.7 * 0.2) ** (-1 / 3), rel=1e-5)
    assert found["generative_perplexity_human"] == pytest.approx((0.2 * 0.2 * 0.4) ** (-1 / 3), rel=1e-5)


def test_empty_completions_are_one_end_each_and_counted(chain):
    found = measure(chain, ["", ""], ["a", ""])
    assert found["generative_perplexity"] == pytest.approx(10, rel=1e-5)
    assert found["generative_perplexity_human"] == pytest.approx((0.7 * 0.1) ** (-1 / 2), rel=1e-5)
    assert found["generative_perplexity_empty"] == 2


def test_one_text(chain):
    assert measure(chain, ["b"], ["a"], [""])["generative_perplexity"] == pytest.approx(10, rel=1e-5)


def test_texts_are_cut_and_counted(chain):
    found = measure(chain, ["abbbb", "ab"], ["ab", "a"], max_tokens=2)
    assert found["generative_perplexity"] == pytest.approx((0.7 * 0.2) ** (-1 / 2), rel=1e-5)
    assert found["generative_perplexity_cut"] == 1
    assert found["generative_perplexity_human_cut"] == 0


def test_the_context_bounds_the_text_and_then_the_prompt(tiny_llama):
    """tiny_llama reads 64 tokens: of the prompt the last are kept, and of a long text the first 64 are scored."""
    short = likelihoods(["b" * 100, "b"], ["c" * 10, "c" * 80], tiny_llama, 1000)
    assert short.counts.tolist() == [10, 64]
    assert short.cut == 1
    kept = direct(tiny_llama, "b" * 54, "c" * 10, start=0)
    assert short.scores[0] == pytest.approx(kept, abs=1e-4)
    assert short.scores[1] == pytest.approx(direct(tiny_llama, "", "c" * 64, start=0), abs=1e-3)


@pytest.mark.parametrize(
    ("value", "message"), [(torch.nan, "log-probability nan"), (-torch.inf, "log-probability (-inf|nan)")]
)
def test_likelihoods_that_are_not_finite_are_an_error(tmp_path, value, message):
    from safetensors.torch import load_file, save_file

    model = save_markov_chain(tmp_path, "ab", TRANSITIONS)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["lm_head.weight"][1, 0] = value
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MetricError, match=rf"1 of 1 texts have {message} .* the completion 'b'"):
        measure(model, ["b"], ["a"])


def test_a_model_without_a_head_is_an_error(own_llama):
    from transformers import AutoModel

    AutoModel.from_pretrained(own_llama).save_pretrained(own_llama)
    with pytest.raises(MetricError, match=r"no weights for lm_head\.weight"):
        measure(own_llama, ["a"], ["b"])


def test_an_encoder_decoder_is_an_error(own_t5):
    with pytest.raises(MetricError, match="no causal language model"):
        measure(own_t5, ["a"], ["b"])


@pytest.mark.assets
def test_an_encoder_is_an_error(minilm):
    with pytest.raises(MetricError, match="no causal language model"):
        measure(minilm, ["a"], ["b"])


def test_an_empty_text_without_an_end_of_sequence(own_llama):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(own_llama)
    tokenizer.bos_token, tokenizer.eos_token = tokenizer.eos_token, None
    tokenizer.save_pretrained(own_llama)
    assert measure(own_llama, ["a"], ["b"])["generative_perplexity"] > 1
    with pytest.raises(MetricError, match="has none"):
        measure(own_llama, [""], ["b"])


def test_bad_input(chain):
    with pytest.raises(MetricError, match="no valid Unicode"):
        likelihoods(["a"], ["\ud800"], chain, 64)
    with pytest.raises(MetricError, match="at least one text and a prompt each, got 0 and 0"):
        likelihoods([], [], chain, 64)
    with pytest.raises(MetricError, match="got 2 and 1"):
        likelihoods(["a"], ["a", "b"], chain, 64)
    with pytest.raises(MetricError, match=r"the prompts must be strings, got b'a'"):
        likelihoods([b"a"], ["a"], chain, 64)
    with pytest.raises(MetricError, match="at least 1, got 0"):
        GenerativePerplexity(max_tokens=0)
    with pytest.raises(MetricError, match="must be positive"):
        likelihoods(["a"], ["a"], chain, 0)
    with pytest.raises(MetricError, match="neither a folder nor a model of the hub"):
        measure(str(Path(chain) / "absent"), ["a"], ["b"])
