"""What ``--plan`` foresees against what a device does: seconds, FLOPs per second and memory of some optimiser steps.

Texts are random words of the lengths that the plan has, and weights may be random: neither changes what a step costs.
The clock of a step runs from the end of the last, so that the first, with its warm-up, does not count. Sampling is what
the steps that refresh the replay buffer take longer than the others.

Example::

    python benchmarks/costing.py paper_text --random /tmp/llama --steps 16 --trainers mle sequence_match_backspace
    python benchmarks/costing.py quick --tasks language --flops-per-second 1e10    # a CPU
"""

from __future__ import annotations

import argparse
import gc
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from harness.assets import resolve
from harness.costing.architecture import Architecture, architecture
from harness.costing.devices import Device, device
from harness.costing.lengths import Lengths, lengths
from harness.costing.memory import memory
from harness.costing.work import Work, work
from harness.expansion import plan
from harness.preparation import instance
from harness.registry import TRAINERS
from harness.study import load_study
from harness.trial import Trial
from harness.validation import Key, build
from trainers.base import Budget, Context, Optimization
from trainers.model_spec import ModelSpec
from trainers.models import build_policy

GB = 1e9


@dataclass(frozen=True)
class Seen:
    """Some optimiser steps of a trial.

    Attributes:
        rows: the learning curve, a row for every step.
        peak: bytes that were allocated at most on the device; None on a CPU.
    """

    rows: list[Mapping[str, float]]
    peak: int | None

    def training(self) -> tuple[float, float]:
        """Seconds and FLOPs of a step without sampling, the median of the last kind of step."""
        steps = [step for step in self._steps() if not step["generated_tokens"]]
        most = max(step["tokens"] for step in steps)
        alike = [step for step in steps if step["tokens"] > 0.8 * most]
        return statistics.median(each["seconds"] for each in alike), statistics.median(each["flops"] for each in alike)

    def sampling(self) -> tuple[float, int]:
        """Seconds and tokens of one sampling; zeros if there was none."""
        drawn = [step for step in self._steps() if step["generated_tokens"]]
        if not drawn:
            return 0.0, 0
        last = drawn[-1]
        return last["seconds"] - self.training()[0], int(last["generated_tokens"])

    @property
    def samplings(self) -> int:
        """How often the replay buffer was refreshed."""
        return sum(bool(step["generated_tokens"]) for step in [self.rows[0], *self._steps()])

    def _steps(self) -> list[dict[str, float]]:
        names = ("seconds", "flops", "tokens", "generated_tokens")
        return [{name: after[name] - before[name] for name in names} for before, after in pairwise(self.rows)]


def tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """Words separated by blanks, one token each."""
    words = {"<pad>": 0, "<s>": 1, "</s>": 2} | {f"w{index}": index for index in range(3, vocabulary)}
    model = Tokenizer(WordLevel(words, unk_token="w3"))
    model.pre_tokenizer = WhitespaceSplit()
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=model, **names)


def examples(sizes: Lengths, vocabulary: int, count: int) -> Dataset:
    """Random texts as long as the first training examples."""
    rng = np.random.default_rng(0)

    def text(length: int) -> str:
        return " ".join(f"w{word}" for word in rng.integers(3, vocabulary, size=length))

    prompts = [text(int(length) - 1) for length in sizes.prompts[:count]]
    completions = [text(int(length)) for length in sizes.actions[:count]]
    return Dataset.from_dict({"prompt": prompts, "completion": completions, "finished": [False] * len(prompts)})


def random_weights(dtype: str, folder: Path) -> None:
    """Write a folder with the layout of Llama-2-7b and random weights, which cost as much as the true ones."""
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        AutoModelForCausalLM.from_config(LlamaConfig(), dtype=getattr(torch, dtype)).save_pretrained(folder)


def seen(trial: Trial, sizes: Lengths) -> Seen:
    """Take the steps of a trial on the device that there is."""
    vocabulary = sizes.vocabulary or 0
    spec = build(ModelSpec, resolve(trial.model), Key("model"))
    trainer = instance(TRAINERS, trial.trainer)
    settings = replace(build(Optimization, trial.optimization, Key("optimization")), log_every=1)
    policy = build_policy(spec, tokenizer(vocabulary), backspace=trainer.backspace, seed=0)
    rows: list[Mapping[str, float]] = []
    context = Context(
        seeds={"order": 1, "noise": 2, "rollout": 3, "dropout": 4},
        optimization=settings,
        max_new_tokens=sizes.new,
        max_actions=int(sizes.new * trial.generation["max_actions_per_token"]),
        report=rows.append,
    )
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    data = examples(sizes, vocabulary, 4 * settings.batch_size)
    trainer.fit(policy, data, build(Budget, trial.budget, Key("budget")), context)
    return Seen(rows, torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None)


def report(trial: Trial, sizes: Lengths, model: Architecture, on: Device) -> None:
    """Print what was foreseen and what was seen of a trial."""
    found = seen(trial, sizes)
    seconds, flops = found.training()
    wait, tokens = found.sampling()
    passes = work(trial, sizes, model.parameters, most=False).passes
    held = memory(trial, sizes, model)
    checkpointing = bool(trial.model["gradient_checkpointing"])
    print(f"\n{trial.trainer.name}, gradient checkpointing {'on' if checkpointing else 'off'}")
    planned = on.hours(Work(flops=flops), model.weight_bytes) * 3600
    print(f"  a step          {seconds:8.3g} s, plan {planned:8.3g} s: {flops / seconds:.3e} FLOP/s as counted")
    if tokens:
        counted = Work(flops=2.0 * model.parameters * tokens, sampling_flops=2.0 * model.parameters * tokens)
        planned = on.hours(replace(counted, passes=passes // found.samplings), model.weight_bytes) * 3600
        print(f"  a sampling      {wait:8.3g} s, plan {planned:8.3g} s: {tokens} tokens, {tokens / wait:.0f} a second")
    if found.peak is not None:
        print(f"  memory          {found.peak / GB:8.2f} GB, plan {held.peak(checkpointed=checkpointing) / GB:8.2f} GB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--trainers", nargs="*", default=[])
    parser.add_argument("--tasks", nargs="*", default=[])
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="a.b=c, as in a run")
    parser.add_argument("--random", type=Path, help="take random weights of Llama-2-7b, written into this folder")
    parser.add_argument("--flops-per-second", type=float, help="of the plan; an H100's where left out")
    options = parser.parse_args()
    study, _ = load_study(options.study, [*options.overrides, f"budget.steps={options.steps}", "seeds=1"])
    if options.random:
        if not options.random.exists():
            random_weights(study.model["dtype"], options.random)
        rest = {name: value for name, value in study.model.items() if name != "hub"}
        study = replace(study, model={**rest, "path": str(options.random)})
    planned = plan(study).only(options.trainers, options.tasks)
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    on = device(options.flops_per_second)
    print(f"torch {torch.__version__}, {name}; plan for {on.name}")
    for trial in planned.trials:
        trainer, sizes = instance(TRAINERS, trial.trainer), lengths(trial)
        if not trainer.learns:
            continue
        if isinstance(sizes, str):
            raise SystemExit(sizes)
        plain, model = (architecture(trial, sizes.vocabulary, backspace=each) for each in (False, trainer.backspace))
        if isinstance(plain, str) or isinstance(model, str):
            raise SystemExit(str(plain))
        report(trial, replace(sizes, vocabulary=plain.vocabulary), model, on)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
