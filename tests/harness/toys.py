"""Small plug-ins, named in studies by the path of this file."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd
import torch
from datasets import Dataset

from metrics.base import KnownAnswer, Metric, MetricContext, MetricError, Need, Series, Value
from tasks.base import MetricSpec, Split, Task, Tokenizer
from trainers.base import Budget, Context, Loss, Trainer, TrainerError
from trainers.batches import Batch
from trainers.mle import MaximumLikelihood
from trainers.policy import Policy


@dataclass(frozen=True, kw_only=True)
class Letters(Task):
    """Copy a word."""

    metrics: ClassVar[tuple[MetricSpec, ...]] = (MetricSpec("accuracy"), MetricSpec("trajectories"))

    train: int = 8
    validation: int | None = None
    test: int = 4
    length: int = 3
    train_length: int | None = None
    train_answer: int | None = None
    overlap: bool = False
    accent: bool = False
    fault: Literal["none", "bug", "empty"] = "none"

    @property
    def max_new_tokens(self) -> int:
        return self.length + 1

    def corpus(self) -> Iterator[str]:
        yield from ([] if self.fault == "empty" else ["abcdefgh 0123456789"])

    def examples(self, split: Split, tokenizer: Tokenizer) -> Dataset:
        if self.fault == "bug":
            raise RuntimeError("a bug in the task")
        first = 0 if split == "train" or self.overlap else self.train + self.test * (split == "validation")
        held_out = self.test if split == "test" or self.validation is None else self.validation
        count = self.train if split == "train" else held_out
        length = self.length if split == "test" or self.train_length is None else self.train_length
        words = [f"{index:0{length}d}" for index in range(first, first + count)]
        prompts = [word.replace("0", "é", 1) for word in words] if self.accent and split == "test" else words
        answers = [word[: self.train_answer] for word in words] if split == "train" else words
        return Dataset.from_dict({"prompt": prompts, "completion": answers, "finished": [True] * count})


@dataclass(frozen=True, kw_only=True)
class Shift(Trainer):
    """Moves all weights by random numbers of an axis, so that the result depends on seeds and settings."""

    scale: float = 0.1
    fault: Literal["none", "raise", "nan", "die", "interrupt"] = "none"
    fault_seed: int = 0

    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        generator = torch.Generator().manual_seed(context.seeds["order"])
        with torch.no_grad():
            for parameter in policy.model.parameters():
                parameter += self.scale * torch.randn(parameter.shape, generator=generator)
        for step in range(budget.steps):
            context.meter.train(10)
            context.report({"step": step, "loss": 1.0})
        if context.seeds == _seeds(self.fault_seed) and self.fault != "none":
            self.fail()
        return policy

    def fail(self) -> None:
        if self.fault == "die":
            os._exit(9)
        if self.fault == "interrupt":
            raise KeyboardInterrupt
        if self.fault == "nan":
            raise TrainerError("the loss is nan at step 3")
        raise RuntimeError("a bug in the trainer")


@dataclass(frozen=True, kw_only=True)
class Stops(Trainer):
    """Owns its loop, asks for measurements in it, and stops when it likes."""

    after: int = 0

    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        for _ in range(self.after):
            context.meter.train(10)
            context.evaluate(policy)
        return policy


@dataclass(frozen=True, kw_only=True)
class InStages(MaximumLikelihood):
    """Trains in two stages, each by the shared loop and with half of the budget."""

    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        for share in (2, 1):
            policy = super().fit(policy, examples, Budget(steps=budget.steps // share), context)
        return policy


@dataclass(frozen=True, kw_only=True)
class SlowToSave(Shift):
    """Its policy takes for ever to be saved the first time, so that a run can be killed in the middle of a write."""

    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        policy = super().fit(policy, examples, budget, context)
        return Slow(policy.model, policy.tokenizer, policy.actions)


class Slow(Policy):
    def save(self, folder: Path | str) -> None:
        super().save(folder)
        time.sleep(float(os.environ.get("SAVE_SECONDS", "0")))


@dataclass(frozen=True, kw_only=True)
class Threads(Metric):
    """Reports the threads of torch, the seed it was given, and what the test of the day wants."""

    values: ClassVar[Mapping[str, Value]] = {
        "threads": Value(None, (1, 99)),
        "metric_seed": Value(None, (0, 2**31)),
        "draw": Value(True, (0, 1)),
    }
    fault: Literal["none", "nan", "undeclared", "nothing"] = "none"

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        draw = torch.rand(()).item()
        report = {"threads": torch.get_num_threads(), "metric_seed": context.seed, "draw": draw}
        if self.fault == "nothing":
            return {}
        if self.fault == "undeclared":
            report["surprise"] = 1.0
        return {**report, "draw": float("nan")} if self.fault == "nan" else report

    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        return []


@dataclass(frozen=True, kw_only=True)
class Pools(Metric):
    """Reports the fewest and most threads of torch and of the pools of BLAS and OpenMP, imported late or early."""

    values: ClassVar[Mapping[str, Value]] = {"fewest": Value(None, (1, 99)), "most": Value(None, (1, 99))}

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        import faiss  # noqa: F401
        import sklearn.cluster  # noqa: F401
        from threadpoolctl import threadpool_info

        threads = [torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())]
        return {"fewest": min(threads), "most": max(threads)}

    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        return []


@dataclass(frozen=True, kw_only=True)
class Plots(Metric):
    """Reports curves, one that depends on the generations, and what is wrong with the one of the day."""

    values: ClassVar[Mapping[str, Value]] = {"plotted": Value(None, (0, 1))}
    series: ClassVar[Mapping[str, Series]] = {"lengths": Series("sample", "tokens"), "steps": Series("step", "y")}
    fault: Literal["none", "undeclared", "unequal", "nan", "inf", "twice", "nested", "flat"] = "none"

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        context.series("lengths", range(len(generations)), [len(ids) for ids in generations["completion_ids"]])
        name = {"undeclared": "step", "twice": "lengths"}.get(self.fault, "steps")
        y = {"unequal": [1], "nan": [1, float("nan")], "nested": [[1, 2], [3, 4]]}.get(self.fault, [2, 1])
        x = [9, float("inf") if self.fault == "inf" else 3]
        context.series(name, *([x, y], [y, x]) if self.fault == "flat" else (x, y))
        return {"plotted": 1.0}

    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        return []


@dataclass(frozen=True, kw_only=True)
class Picky(Metric):
    """Refuses the policy until it has been called some times, and draws from global generators."""

    values: ClassVar[Mapping[str, Value]] = {"picky": Value(True, (0, 1))}
    refuses: int = 0
    calls: ClassVar[list[int]] = []

    def compute(self, generations: pd.DataFrame, context: MetricContext) -> dict[str, float]:
        self.calls.append(len(generations))
        if len(self.calls) <= self.refuses:
            raise MetricError("not yet")
        assert context.policy is not None
        assert not context.policy.model.training
        context.policy.model.train()
        torch.manual_seed(len(self.calls))
        return {"picky": torch.rand(()).item()}

    @classmethod
    def known_answers(cls) -> list[KnownAnswer]:
        return []


class NeedsLanguage(Threads):
    values: ClassVar[Mapping[str, Value]] = {"language": Value(None, (0, 1))}
    needs: ClassVar[frozenset[Need]] = frozenset({"language"})


class NeedsMany(Threads):
    values: ClassVar[Mapping[str, Value]] = {"many": Value(None, (0, 1))}
    minimum_n: ClassVar[int] = 1000


@dataclass(frozen=True, kw_only=True)
class Greedy(Shift):
    """Its settings clash with a key of the study."""

    optimization: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Named(Shift):
    """Has a setting that names a file."""

    file: str = ""


class NotATrainer:
    pass


@dataclass(frozen=True, kw_only=True)
class Abstract(Task):
    pass


def _seeds(seed: int) -> dict[str, int]:
    from harness.seeding import TRAINING_AXES, axis_seeds

    return axis_seeds(seed, TRAINING_AXES)


@dataclass(frozen=True, kw_only=True)
class Reports(Trainer):
    """Reports one row of the learning curve."""

    row: Literal["tensor", "text", "no step"] = "tensor"

    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        rows = {
            "tensor": {"step": 1, "loss": torch.tensor(0.5)},
            "text": {"step": 1, "loss": "low"},
            "no step": {"loss": 0.5},
        }
        context.report(rows[self.row])
        return policy


@dataclass(frozen=True, kw_only=True)
class CannotBeSaved(Shift):
    """Its policy cannot be written, for a reason that has nothing to do with the folder."""

    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        return Unsaved(policy.model, policy.tokenizer, policy.actions)


class Unsaved(Policy):
    def save(self, folder: Path | str) -> None:
        raise ValueError("these weights share memory")


@dataclass(frozen=True, kw_only=True)
class Flaky(Shift):
    """Fails while a file is there."""

    flag: str = ""

    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        if os.path.exists(self.flag):
            raise RuntimeError("the flag is up")
        return policy


@dataclass(frozen=True, kw_only=True)
class FailsInLaunch(MaximumLikelihood):
    """Fails in the third step of a launch, in those of its processes that ``FAULT`` in the environment says."""

    def loss(self, policy: Policy, batch: Batch) -> Loss:
        fault, rank = os.environ.get("FAULT"), int(os.environ.get("RANK", "0"))
        if batch.step == 2 and (fault == "all" or (fault and rank == 1)):
            if fault == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError(f"a bug in process {rank}")
        return super().loss(policy, batch)


@dataclass(frozen=True, kw_only=True)
class WatchesClock(MaximumLikelihood):
    """Writes every step and the time on the wall into the file ``STEPS``; ``FAULT=killed`` kills it in the fifth."""

    def loss(self, policy: Policy, batch: Batch) -> Loss:
        with Path(os.environ["STEPS"]).open("a") as file:
            file.write(f"{batch.step} {time.time()}\n")
        if batch.step == 4 and os.environ.get("FAULT") == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(policy, batch)
