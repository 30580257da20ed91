"""Speed of training: SequenceMatch over behavioural cloning, and maximum likelihood over transformers' Trainer.

Every ratio is of medians of interleaved repeats in one process. The clock runs from the end of a run's first
optimiser step to the end of its last, so loading, encoding and start-up do not count; sampling does, in the
share that falls to a step.

Example::

    python benchmarks/training.py                                   # all, about 12 minutes on one core
    python benchmarks/training.py --models small --repeats 3
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
    TrainerCallback,
    TrainingArguments,
)
from transformers import Trainer as TransformersTrainer

from trainers.base import Budget, Context, Optimization, Trainer
from trainers.behavioral_cloning import BehavioralCloning
from trainers.mle import MaximumLikelihood
from trainers.model_spec import FreshModel, ModelSpec
from trainers.models import build_policy
from trainers.policy import Policy
from trainers.sequence_match import SequenceMatch, SequenceMatchBackspace

Clock = Callable[[], float]
CLOCKS: Mapping[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Setting:
    """One model and the data it trains on.

    Attributes:
        width, layers: of the Llama.
        vocabulary: tokens.
        length: tokens of the mean text; lengths are uniform within a sixth of it.
        batch_size: texts per optimiser step.
        steps: timed optimiser steps per repeat.
    """

    width: int
    layers: int
    vocabulary: int
    length: int
    batch_size: int
    steps: int

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Words separated by blanks, one token each."""
        words = {"<pad>": 0, "<s>": 1, "</s>": 2} | {f"w{index}": index for index in range(3, self.vocabulary - 1)}
        tokenizer = Tokenizer(WordLevel(words, unk_token="w3"))
        tokenizer.pre_tokenizer = WhitespaceSplit()
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, **{"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
        )

    def examples(self, seed: int) -> Dataset:
        """Random texts, enough for all steps of one repeat."""
        rng = np.random.default_rng(seed)
        spread = max(1, self.length // 6)
        lengths = rng.integers(self.length - spread, self.length + spread, size=self.batch_size * 16)
        texts = [" ".join(f"w{word}" for word in rng.integers(3, self.vocabulary - 1, size=n)) for n in lengths]
        return Dataset.from_dict({"prompt": [""] * len(texts), "completion": texts, "finished": [True] * len(texts)})

    def policy(self, backspace: bool) -> Policy:
        """A fresh model; equal weights at every call."""
        fresh = FreshModel(
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=4,
            intermediate_size=4 * self.width,
            max_position_embeddings=4 * self.length,
        )
        return build_policy(ModelSpec(fresh=fresh), self.tokenizer(), backspace=backspace, seed=0)

    def optimization(self, precision: Any) -> Optimization:
        """The log is written at the first and at the last step only."""
        return Optimization(batch_size=self.batch_size, precision=precision, log_every=10**9)


SETTINGS = {
    "small": Setting(width=64, layers=2, vocabulary=2048, length=20, batch_size=64, steps=50),
    "wide": Setting(width=128, layers=4, vocabulary=2048, length=96, batch_size=32, steps=25),
}


@dataclass(frozen=True)
class Speed:
    """Seconds per optimiser step, and tokens read per second."""

    step: float
    tokens: float


def ours(trainer: Trainer, setting: Setting, precision: str, now: Clock) -> Speed:
    """Time the shared loop."""
    times: list[tuple[float, float]] = []

    def note(row: Mapping[str, float]) -> None:
        times.append((now(), row["tokens"]))

    context = Context(
        seeds={"order": 1, "noise": 2, "rollout": 3, "dropout": 4},
        optimization=setting.optimization(precision),
        max_new_tokens=setting.length,
        max_actions=4 * setting.length,
        report=note,
    )
    trainer.fit(setting.policy(trainer.backspace), setting.examples(0), Budget(steps=setting.steps + 1), context)
    (start, before), (end, after) = times
    return Speed((end - start) / setting.steps, (after - before) / (end - start))


class _StepEnds(TrainerCallback):
    def __init__(self, now: Clock) -> None:
        self.now = now
        self.times: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        self.times.append(self.now())


class _Counting(DataCollatorForLanguageModeling):
    """The plain causal collator, which also counts the tokens of every batch."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__(tokenizer, mlm=False)
        self.counts: list[int] = []

    def __call__(self, features: Any, return_tensors: Any = None) -> Any:
        self.counts.append(sum(len(feature["input_ids"]) for feature in features))
        return super().__call__(features, return_tensors)


def theirs(setting: Setting, precision: str, now: Clock) -> Speed:
    """Time transformers' Trainer on the same texts, model, batch, precision and optimiser."""
    policy, same = setting.policy(False), setting.optimization(precision)
    texts = [
        [policy.actions.start, *policy.encode(text), policy.actions.eos] for text in setting.examples(0)["completion"]
    ]
    collator, clock = _Counting(setting.tokenizer()), _StepEnds(now)
    with tempfile.TemporaryDirectory() as folder:
        TransformersTrainer(
            policy.model,
            TrainingArguments(
                folder,
                per_device_train_batch_size=same.batch_size,
                max_steps=setting.steps + 1,
                learning_rate=same.learning_rate,
                weight_decay=same.weight_decay,
                warmup_steps=round(same.warmup * (setting.steps + 1)),
                lr_scheduler_type="cosine",
                max_grad_norm=same.max_grad_norm,
                bf16=precision == "bf16",
                use_cpu=True,
                logging_strategy="no",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                dataloader_pin_memory=False,
            ),
            train_dataset=Dataset.from_dict({"input_ids": texts}),
            data_collator=collator,
            callbacks=[clock],
        ).train()
    seconds = clock.times[-1] - clock.times[0]
    return Speed(seconds / setting.steps, sum(collator.counts[1 : setting.steps + 1]) / seconds)


def medians(runs: Mapping[str, Callable[[], Speed]], repeats: int) -> dict[str, Speed]:
    """Run all in turn, ``repeats`` times over; the median of each."""
    found: dict[str, list[Speed]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            found[name].append(run())
    return {
        name: Speed(*(statistics.median(getattr(speed, field) for speed in speeds) for field in ("step", "tokens")))
        for name, speeds in found.items()
    }


def report(name: str, setting: Setting, options: argparse.Namespace) -> None:
    """Measure one model and print its table and ratios."""
    rest = (setting, options.precision, CLOCKS[options.clock])
    runs: dict[str, Callable[[], Speed]] = {"mle": lambda: ours(MaximumLikelihood(), *rest)}
    ratios: list[tuple[str, str, str]] = []
    if "mle" in options.parts:
        runs["transformers.Trainer"] = lambda: theirs(*rest)
        ratios.append(("tokens", "mle", "transformers.Trainer"))
    if "sequence_match" in options.parts:
        runs["behavioral_cloning"] = lambda: ours(BehavioralCloning(), *rest)
        runs["sequence_match_backspace"] = lambda: ours(SequenceMatchBackspace(cloning_share=0), *rest)
        runs["sequence_match"] = lambda: ours(SequenceMatch(cloning_share=0), *rest)
        ratios += [("step", "sequence_match_backspace", "behavioral_cloning"), ("step", "sequence_match", "mle")]
    found = medians(runs, options.repeats)
    print(f"\n{name}: {setting}")
    for key, speed in found.items():
        print(f"  {key:26}{speed.step * 1e3:9.1f} ms/step {speed.tokens:10.0f} tokens/s")
    for field, upper, lower in ratios:
        ratio = getattr(found[upper], field) / getattr(found[lower], field)
        print(f"  {'step time' if field == 'step' else 'tokens/s':9}  {upper} / {lower}: {ratio:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: processor time, for a shared machine")
    parser.add_argument("--precision", choices=["no", "bf16"], default="no")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parts", nargs="+", choices=["sequence_match", "mle"], default=["sequence_match", "mle"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"torch {torch.__version__}, {options.threads} thread(s), precision {options.precision}, clock {options.clock}"
    )
    for name in options.models:
        report(name, SETTINGS[name], options)


if __name__ == "__main__":
    main()
