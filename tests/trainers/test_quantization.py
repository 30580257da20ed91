"""Adapters on weights in four bits, with the real bitsandbytes in an environment of its own."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from environments import environment

from trainers.model_spec import LoraSpec, ModelSpec
from trainers.models import build_policy, tokenizer_for

SCRIPT = Path(__file__).with_name("quantized.py")


@pytest.mark.long
def test_adapters_learn_on_four_bits_and_are_saved_in_full(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    run = environment(pytestconfig, "quantization", "bitsandbytes").python(SCRIPT, tmp_path, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["quantised"]
    assert found["frozen"]
    assert found["parameters"] > found["base"], "packed weights count one by one"
    assert found["cloning"][-1] < 0.5 * found["cloning"][0]
    assert found["generated_tokens"] > 0
    assert found["learnt"]
    assert found["saved"] == ["torch.float32"]
    assert not found["config"]
    assert found["difference"] < 1e-4
    assert found["walks"][0] == found["walks"][1], "what is saved writes as what was trained"


def test_quantised_weights_need_adapters_on_a_trained_model() -> None:
    with pytest.raises(ValueError, match=r"model: quantization freezes weights: it needs .* and model\.lora"):
        ModelSpec(path="somewhere", quantization="nf4")


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_without_bitsandbytes_one_line_says_what_to_install(spec: ModelSpec, tmp_path: Path) -> None:
    tokenizer = tokenizer_for(spec, lambda: iter(["abc"]), None)
    build_policy(spec, tokenizer, backspace=False, seed=0).save(tmp_path)
    wanted = ModelSpec(path=str(tmp_path), quantization="nf4", lora=LoraSpec())
    with pytest.raises(ImportError, match=r"bitsandbytes: pip install 'seqmatch\[quantization\]'"):
        build_policy(wanted, tokenizer, backspace=False, seed=0)
