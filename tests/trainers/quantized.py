"""Train adapters on 4-bit weights for real and print what came of it: the script of test_quantization.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from trainers.base import Budget, Context, Optimization
from trainers.decoding import Decoder
from trainers.model_spec import LoraSpec, ModelSpec
from trainers.models import build_policy, tokenizer_for
from trainers.policy import Policy
from trainers.sequence_match import SequenceMatchBackspace

TEXTS = ["abcde", "ace", "bead", "cab", "deed", "ebb"]
PROMPTS = ["a", "", "bb", "c", "d", "ee", "ab", "cd"]


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    from trainers.tokenizer import train_bpe

    tokenizer = train_bpe(TEXTS, 0, "seen")
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=len(tokenizer), **sizes, tie_word_embeddings=False, initializer_range=0.2)
    base = LlamaForCausalLM(config)
    base.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    spec = ModelSpec(path=str(folder / "base"), quantization="nf4", lora=LoraSpec(rank=4))
    policy = build_policy(spec, tokenizer_for(spec, lambda: iter(()), None), backspace=True, seed=0)
    kinds = {type(module).__name__ for module in policy.model.modules()}
    packed = {name: each.clone() for name, each in policy.model.named_parameters() if not each.requires_grad}
    rows: list[Mapping[str, float]] = []
    context = Context(
        seeds={"order": 1, "noise": 2, "rollout": 3, "dropout": 4},
        optimization=Optimization(batch_size=8, learning_rate=1e-2, log_every=1),
        max_new_tokens=6,
        max_actions=20,
        report=rows.append,
    )
    data = {"prompt": PROMPTS, "completion": [text[1:] for text in TEXTS] + ["bc", "e"], "finished": [True] * 8}
    trainer = SequenceMatchBackspace(cloning_share=0.5, refresh_every=5, refresh=16, noise=0.1)
    before = policy.generate(PROMPTS, Decoder(), 0, 6, 20)["actions"].tolist()
    trainer.fit(policy, Dataset.from_dict(data), Budget(steps=40), context)
    policy.save(folder / "policy")
    saved = AutoModelForCausalLM.from_pretrained(folder / "policy")
    walks = [
        each.generate(PROMPTS, Decoder(), 0, 6, 20)["actions"].tolist()
        for each in (policy, Policy.load(folder / "policy"))
    ]
    ids = torch.tensor([[1, 3, 4, 5]])
    frozen = all(torch.equal(each, packed[name]) for name, each in policy.model.named_parameters() if name in packed)
    found = {
        "quantised": "Linear4bit" in kinds,
        "parameters": policy.parameters,
        "base": base.num_parameters(),
        "frozen": frozen,
        "cloning": [row["cloning"] for row in rows],
        "generated_tokens": rows[-1]["generated_tokens"],
        "learnt": walks[0] != before,
        "walks": walks,
        "saved": sorted({str(each.dtype) for each in saved.parameters()}),
        "difference": float((saved(ids).logits - policy.model(ids).logits).abs().max()),
        "config": "quantization_config" in saved.config.to_dict(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
