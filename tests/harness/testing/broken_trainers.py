"""Trainers that break one promise each; but for that they do what maximum likelihood does."""

from __future__ import annotations

import copy
import os
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from datasets import Dataset

from trainers.base import Budget, Context
from trainers.mle import MaximumLikelihood
from trainers.policy import Policy
from trainers.pretrained import Pretrained
from trainers.sequence_match import SequenceMatch

LIVES: list[int] = []


def reordered(context: Context, number: int) -> Context:
    """Another order of the data."""
    return replace(context, seeds={**context.seeds, "order": context.seeds["order"] + number})


def reporting(context: Context, change: Callable[[dict[str, float]], dict[str, float]]) -> Context:
    """Change the rows of the learning curve."""
    return replace(context, report=lambda row: context.report(change(dict(row))))


class Base(MaximumLikelihood):
    """Maximum likelihood with places for faults around ``fit``."""

    def before(self, policy: Policy, examples: Dataset, context: Context) -> None: ...

    def lent(self, context: Context, examples: Dataset) -> Context:
        return context

    def granted(self, budget: Budget) -> Budget:
        return budget

    def after(self, policy: Policy, examples: Dataset, context: Context) -> None: ...

    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        self.before(policy, examples, context)
        policy = super().fit(policy, examples, self.granted(budget), self.lent(context, examples))
        self.after(policy, examples, context)
        return policy


@dataclass(frozen=True, kw_only=True)
class ReportsNoNumber(Base):
    def lent(self, context: Context, examples: Dataset) -> Context:
        return reporting(context, lambda row: {**row, "loss": float("nan")} if row["step"] == 3 else row)


@dataclass(frozen=True, kw_only=True)
class NanColumn(Base):
    def lent(self, context: Context, examples: Dataset) -> Context:
        return reporting(context, lambda row: {**row, "margin": float("nan")})


@dataclass(frozen=True, kw_only=True)
class MiscountsInTheCurve(Base):
    def lent(self, context: Context, examples: Dataset) -> Context:
        return reporting(context, lambda row: {**row, "tokens": row["tokens"] + 1})


@dataclass(frozen=True, kw_only=True)
class ReportsAlways(Base):
    def lent(self, context: Context, examples: Dataset) -> Context:
        return replace(context, optimization=replace(context.optimization, log_every=1))


@dataclass(frozen=True, kw_only=True)
class IgnoresTheOrder(Base):
    def lent(self, context: Context, examples: Dataset) -> Context:
        return replace(context, seeds={**context.seeds, "order": 0})


@dataclass(frozen=True, kw_only=True)
class ReadsTheFolder(Base):
    def lent(self, context: Context, examples: Dataset) -> Context:
        return reordered(context, zlib.crc32(os.getcwd().encode()) % 1000)


@dataclass(frozen=True, kw_only=True)
class CountsColumns(Base):
    def lent(self, context: Context, examples: Dataset) -> Context:
        return reordered(context, len(examples.column_names))


@dataclass(frozen=True, kw_only=True)
class AsksTheProcess(Base):
    def lent(self, context: Context, examples: Dataset) -> Context:
        return reordered(context, os.getpid())


@dataclass(frozen=True, kw_only=True)
class AsksTheHash(Base):
    def lent(self, context: Context, examples: Dataset) -> Context:
        return reordered(context, hash("order") % 1000)


@dataclass(frozen=True, kw_only=True)
class OneMore(Base):
    def granted(self, budget: Budget) -> Budget:
        return replace(budget, steps=budget.steps + 1)


@dataclass(frozen=True, kw_only=True)
class IgnoresTokens(Base):
    def granted(self, budget: Budget) -> Budget:
        return replace(budget, tokens=None)


@dataclass(frozen=True, kw_only=True)
class SetsAFormat(Base):
    def after(self, policy: Policy, examples: Dataset, context: Context) -> None:
        examples.set_format("numpy")


@dataclass(frozen=True, kw_only=True)
class TakesASeed(Base):
    def before(self, policy: Policy, examples: Dataset, context: Context) -> None:
        context.seeds["mine"] = 1


@dataclass(frozen=True, kw_only=True)
class Listed(Base):
    seen: ClassVar[list[int]] = []

    def before(self, policy: Policy, examples: Dataset, context: Context) -> None:
        self.seen.append(1)


@dataclass(frozen=True, kw_only=True)
class SetsThePrecision(Base):
    def after(self, policy: Policy, examples: Dataset, context: Context) -> None:
        torch.set_float32_matmul_precision("high")


@dataclass(frozen=True, kw_only=True)
class SetsAVariable(Base):
    def after(self, policy: Policy, examples: Dataset, context: Context) -> None:
        os.environ["BROKEN_TRAINER"] = str(len(os.environ))


@dataclass(frozen=True, kw_only=True)
class WritesAFile(Base):
    def after(self, policy: Policy, examples: Dataset, context: Context) -> None:
        Path("log.txt").write_text("done")


@dataclass(frozen=True, kw_only=True)
class Prints(Base):
    def after(self, policy: Policy, examples: Dataset, context: Context) -> None:
        print("done")


@dataclass(frozen=True, kw_only=True)
class MovesTheGlobalGenerator(Base):
    def after(self, policy: Policy, examples: Dataset, context: Context) -> None:
        torch.rand(1)


@dataclass(frozen=True, kw_only=True)
class GrowsTheVocabulary(Base):
    def after(self, policy: Policy, examples: Dataset, context: Context) -> None:
        policy.tokenizer.add_tokens(["zz"])


@dataclass(frozen=True, kw_only=True)
class StaysInTraining(Base):
    def after(self, policy: Policy, examples: Dataset, context: Context) -> None:
        policy.model.train()


@dataclass(frozen=True, kw_only=True)
class DoublesThePrecision(Base):
    def after(self, policy: Policy, examples: Dataset, context: Context) -> None:
        policy.model.double()


@dataclass(frozen=True, kw_only=True)
class Thaws(Base):
    def before(self, policy: Policy, examples: Dataset, context: Context) -> None:
        policy.model.requires_grad_(True)


@dataclass(frozen=True, kw_only=True)
class LeavesAHook(Base):
    def after(self, policy: Policy, examples: Dataset, context: Context) -> None:
        policy.model.register_forward_hook(lambda *_: None)


@dataclass(frozen=True, kw_only=True)
class NeedsTwo(Base):
    def before(self, policy: Policy, examples: Dataset, context: Context) -> None:
        if len(examples) == 1:
            raise IndexError("list index out of range")


@dataclass(frozen=True, kw_only=True)
class NoEmpties(Base):
    def before(self, policy: Policy, examples: Dataset, context: Context) -> None:
        if "" in list(examples["completion"]):
            raise ValueError("empty completion")


@dataclass(frozen=True, kw_only=True)
class AsciiOnly(Base):
    def before(self, policy: Policy, examples: Dataset, context: Context) -> None:
        "".join(examples["completion"]).encode("ascii")


@dataclass(frozen=True, kw_only=True)
class ChokesOnSpecials(Base):
    def before(self, policy: Policy, examples: Dataset, context: Context) -> None:
        if any("<pad>" in text for text in examples["completion"]):
            raise KeyError("<pad>")


@dataclass(frozen=True, kw_only=True)
class FailsInTrials(Base):
    def before(self, policy: Policy, examples: Dataset, context: Context) -> None:
        if context.max_new_tokens == 4:
            raise RuntimeError("only the task copying has 4")


@dataclass(frozen=True, kw_only=True)
class LlamaOnly(Base):
    def before(self, policy: Policy, examples: Dataset, context: Context) -> None:
        if policy.model.config.model_type != "llama":
            raise AttributeError("no attribute 'layers'")


@dataclass(frozen=True, kw_only=True)
class ScalesUnsaved(Base):
    def before(self, policy: Policy, examples: Dataset, context: Context) -> None:
        for layer in policy.model.model.layers:
            layer.self_attn.scaling = 2.0


@dataclass(frozen=True, kw_only=True)
class MovesWithoutLearning(Pretrained):
    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        if not context.meter.exhausted(budget):
            with torch.no_grad():
                policy.model.get_output_embeddings().weight.add_(1)
        return policy


@dataclass(frozen=True, kw_only=True)
class FinishesAll(MaximumLikelihood):
    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        columns = {name: examples[name] for name in ("prompt", "completion")}
        return super().fit(policy, Dataset.from_dict(columns), budget, context)


@dataclass(frozen=True, kw_only=True)
class IgnoresSamples(SequenceMatch):
    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        return super().fit(policy, examples, replace(budget, generated_tokens=None), context)


@dataclass(frozen=True, kw_only=True)
class LooksAtTheClockOnce(MaximumLikelihood):
    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        spent = context.meter.exhausted(budget)
        return policy if spent else super().fit(policy, examples, replace(budget, seconds=None), context)


@dataclass(frozen=True, kw_only=True)
class StartsAnyway(MaximumLikelihood):
    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        return super().fit(policy, examples, Budget(steps=1) if context.meter.exhausted(budget) else budget, context)


@dataclass(frozen=True, kw_only=True)
class ResetsItsFlops(Base):
    def lent(self, context: Context, examples: Dataset) -> Context:
        def report(row: Mapping[str, float]) -> None:
            context.report(row)
            context.meter.flops = 0.0

        return replace(context, report=report)


@dataclass(frozen=True, kw_only=True)
class Remembers(Base):
    def lent(self, context: Context, examples: Dataset) -> Context:
        fits = getattr(self, "_fits", 0) + 1
        object.__setattr__(self, "_fits", fits)
        return reordered(context, fits)


@dataclass(frozen=True, kw_only=True)
class DrawsGlobally(Base):
    def lent(self, context: Context, examples: Dataset) -> Context:
        with torch.random.fork_rng():
            return reordered(context, int(torch.randint(1000, ())))


@dataclass(frozen=True, kw_only=True)
class DrawsAnew(Base):
    def lent(self, context: Context, examples: Dataset) -> Context:
        LIVES.append(1)
        return reordered(context, len(LIVES))


@dataclass(frozen=True, kw_only=True)
class ChangedByInterrupts(MaximumLikelihood):
    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        try:
            return super().fit(policy, examples, budget, reordered(context, len(SCARS)))
        except KeyboardInterrupt:
            SCARS.append(1)
            raise


SCARS: list[int] = []


@dataclass(frozen=True, kw_only=True)
class Swallows(MaximumLikelihood):
    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        try:
            return super().fit(policy, examples, budget, context)
        except KeyboardInterrupt:
            policy.model.eval()
            return policy


@dataclass(frozen=True, kw_only=True)
class KeepsGradients(Base):
    def after(self, policy: Policy, examples: Dataset, context: Context) -> None:
        for parameter in policy.model.parameters():
            parameter.grad = torch.zeros_like(parameter)


class Undecorated(MaximumLikelihood):
    strength: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Undocumented(MaximumLikelihood):
    strength: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ChangesItsSetting(MaximumLikelihood):
    """Has a setting.

    Attributes:
        strength: of nothing.
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "strength", self.strength * 2)


@dataclass(frozen=True, kw_only=True)
class HoldsALock(MaximumLikelihood):
    def __post_init__(self) -> None:
        object.__setattr__(self, "_lock", threading.Lock())


@dataclass(frozen=True, kw_only=True)
class Asserts(MaximumLikelihood):
    """Has a setting.

    Attributes:
        strength: of nothing.
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        assert self.strength >= 0, "strength"


@dataclass(frozen=True, kw_only=True)
class MeasuredNowAndThen(Base):
    def lent(self, context: Context, examples: Dataset) -> Context:
        def evaluate(policy: Policy) -> None:
            if context.meter.steps % 2:
                context.evaluate(policy)

        return replace(context, evaluate=evaluate)


@dataclass(frozen=True, kw_only=True)
class ShowsWhatItStartedFrom(MaximumLikelihood):
    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        first = copy.deepcopy(policy)
        return super().fit(policy, examples, budget, replace(context, evaluate=lambda _: context.evaluate(first)))


@dataclass(frozen=True, kw_only=True)
class ShowsEverySecondStep(MaximumLikelihood):
    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        kept = [copy.deepcopy(policy)]

        def evaluate(policy: Policy) -> None:
            if context.meter.steps % 2:
                kept[0] = copy.deepcopy(policy)
            context.evaluate(kept[0])

        return super().fit(policy, examples, budget, replace(context, evaluate=evaluate))


@dataclass(frozen=True, kw_only=True)
class FeelsMeasurements(MaximumLikelihood):
    """Counts the forward passes of the model, and moves a weight by their number."""

    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        passes = [0]

        def count(*_: Any) -> None:
            passes[0] += 1

        def evaluate(policy: Policy) -> None:
            passes[0] = 0
            context.evaluate(policy)
            with torch.no_grad():
                policy.model.get_input_embeddings().weight.add_(1e-3 * passes[0])

        handle = policy.model.register_forward_hook(count)
        try:
            return super().fit(policy, examples, budget, replace(context, evaluate=evaluate))
        finally:
            handle.remove()


@dataclass(frozen=True, kw_only=True)
class TrainsOnNothing(Base):
    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        return super().fit(policy, examples, budget, context) if len(examples) else policy


@dataclass(frozen=True, kw_only=True)
class ThawsAdapters(Base):
    def before(self, policy: Policy, examples: Dataset, context: Context) -> None:
        if hasattr(policy.model, "peft_config"):
            policy.model.requires_grad_(True)


@dataclass(frozen=True, kw_only=True)
class HalvesItsWeights(Base):
    def after(self, policy: Policy, examples: Dataset, context: Context) -> None:
        if context.optimization.precision == "bf16":
            policy.model.to(torch.bfloat16)
