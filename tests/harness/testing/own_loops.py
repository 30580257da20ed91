"""A trainer that owns its loop and does everything right, and others that differ from it in one thing each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.functional import cross_entropy

from trainers.base import Budget, Context, Loss, Trainer, TrainerError
from trainers.batches import Batch
from trainers.mle import MaximumLikelihood
from trainers.policy import Policy
from trainers.scores import score

if TYPE_CHECKING:
    from trainers.base import Preparation
    from trainers.batches import Trajectory

Encoded = tuple[list[int], list[int]]
"""Token ids and labels of an example, -100 where nothing is learnt."""


@dataclass(frozen=True, kw_only=True)
class Own(Trainer):
    """Plain likelihood in a loop of its own, in the way of many scripts: padded on the right, labels of -100.

    Attributes:
        beta: AdamW's first momentum.
    """

    beta: float = 0.9

    def encode(self, policy: Policy, prompt: str, completion: str, finished: bool) -> Encoded:
        first, rest = policy.prompt_ids(prompt), policy.encode(completion)
        rest = [*rest, policy.actions.eos] if finished else rest
        return first + rest, [-100] * len(first) + rest

    def pad(self, policy: Policy, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
        slots = max(len(ids) for ids, _ in rows)
        fill = policy.tokenizer.pad_token_id
        return (
            torch.tensor([ids + [fill] * (slots - len(ids)) for ids, _ in rows]),
            torch.tensor([labels + [-100] * (slots - len(labels)) for _, labels in rows]),
        )

    def total(self, policy: Policy, ids: Tensor, labels: Tensor) -> Tensor:
        """Summed over the actions, impossible actions masked out."""
        at_root = (labels[:, 1:] != -100).cumsum(1).le(1) & (labels[:, 1:] != -100)
        logits = policy.model(input_ids=ids, use_cache=False).logits[:, :-1]
        return cross_entropy(
            policy.actions.mask(logits.float(), at_root).flatten(0, 1), labels[:, 1:].flatten(), reduction="sum"
        )

    def micro_batches(self, rows: list[Encoded], context: Context) -> list[list[Encoded]]:
        parts = context.optimization.accumulation
        return [rows[part::parts] for part in range(parts)]

    def divisors(self, counts: list[int]) -> list[int]:
        """What the loss of each micro-batch is divided by."""
        return [sum(counts)] * len(counts)

    def row(self, step: int, total: float, actions: int) -> dict[str, float]:
        return {"step": step, "loss": total / actions}

    def tokens(self, rows: list[Encoded]) -> int:
        return sum(len(ids) for ids, _ in rows)

    def seed_dropout(self, context: Context) -> None:
        torch.manual_seed(context.seeds["dropout"])

    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        columns = (examples["prompt"], examples["completion"], examples["finished"])
        data = [self.encode(policy, *example) for example in zip(*columns, strict=True)]
        if not data:
            raise TrainerError("there are no examples")
        meter, settings = context.meter, context.optimization
        trainable = [each for each in policy.model.parameters() if each.requires_grad]
        optimizer = torch.optim.AdamW(trainable, lr=settings.learning_rate, betas=(self.beta, 0.999))
        policy.model.train()
        with torch.random.fork_rng():
            self.seed_dropout(context)
            while not meter.exhausted(budget):
                rng = np.random.default_rng([context.seeds["order"], meter.steps])
                picked = [data[index] for index in rng.integers(len(data), size=settings.batch_size)]
                parts = self.micro_batches(picked, context)
                counts = [sum(label != -100 for _, labels in part for label in labels) for part in parts]
                if not sum(counts):
                    raise TrainerError(f"nothing to learn at step {meter.steps}")
                sums = 0.0
                for part, divisor in zip(parts, self.divisors(counts), strict=True):
                    total = self.total(policy, *self.pad(policy, part))
                    (total / divisor).backward()
                    sums += float(total.detach())
                optimizer.step()
                optimizer.zero_grad()
                meter.train(self.tokens(picked))
                context.report({**self.row(meter.steps, sums, sum(counts)), **meter.reading()})
                context.evaluate(policy)
        policy.model.eval()
        return policy


@dataclass(frozen=True, kw_only=True)
class Critic(MaximumLikelihood):
    """Likelihood in the shared loop, and a head that learns to foretell it; the head is there in training only."""

    @contextmanager
    def learner(self, policy: Policy, examples: Dataset, context: Context) -> Iterator[Trainer]:
        del examples
        with torch.random.fork_rng():
            torch.manual_seed(context.seeds["dropout"])
            head = torch.nn.Linear(policy.model.config.hidden_size, 1)
        policy.model.add_module("critic", head)
        try:
            yield self
        finally:
            delattr(policy.model, "critic")

    def loss(self, policy: Policy, batch: Batch) -> Loss:
        likelihood, acts = super().loss(policy, batch), batch.data.acts
        scores, hidden = score(policy, batch.data, acts)
        guesses = policy.model.get_submodule("critic")(hidden)[:, 0]
        errors = (guesses - scores.log_probability[acts].detach()) ** 2
        return Loss(likelihood.total + errors.sum(), likelihood.steps)


@dataclass(frozen=True, kw_only=True)
class Narrow(Own):
    """Its loss takes no batch, though its fit never calls it."""

    def loss(self, policy: Policy) -> Any:
        raise AssertionError("its fit never calls it")


@dataclass(frozen=True, kw_only=True)
class NarrowRollouts(Own):
    """It asks for roll-outs without being told of what."""

    def rollouts(self) -> Any:
        return None


@dataclass(frozen=True, kw_only=True)
class CountsMicroBatches(Own):
    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        policy = super().fit(policy, examples, budget, context)
        context.meter.steps *= context.optimization.accumulation
        return policy


@dataclass(frozen=True, kw_only=True)
class CountsActions(Own):
    def tokens(self, rows: list[Encoded]) -> int:
        return sum(label != -100 for _, labels in rows for label in labels)


@dataclass(frozen=True, kw_only=True)
class MeanOfMeans(Own):
    def divisors(self, counts: list[int]) -> list[int]:
        return [count * len(counts) for count in counts]


@dataclass(frozen=True, kw_only=True)
class Sums(Own):
    def row(self, step: int, total: float, actions: int) -> dict[str, float]:
        return {"step": step, "loss": total}


@dataclass(frozen=True, kw_only=True)
class TrainsOnPrompts(Own):
    def encode(self, policy: Policy, prompt: str, completion: str, finished: bool) -> Encoded:
        ids, labels = super().encode(policy, prompt, completion, finished)
        last = len(policy.prompt_ids(prompt)) - 1
        return ids, [*labels[:last], ids[last], *labels[last + 1 :]]


@dataclass(frozen=True, kw_only=True)
class TrainsOnPadding(Own):
    """The pad token is a forbidden action, so a label of it would cost infinitely much; the end is not."""

    def pad(self, policy: Policy, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
        ids, labels = super().pad(policy, rows)
        beyond = torch.tensor([[slot > len(one) for slot in range(ids.shape[1])] for one, _ in rows])
        ended = torch.tensor([one[-1] == policy.actions.eos for one, _ in rows])
        return ids, labels.masked_fill(beyond & ended[:, None], policy.actions.eos)


@dataclass(frozen=True, kw_only=True)
class DrawsDropoutGlobally(Own):
    def seed_dropout(self, context: Context) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class DropsLast(Own):
    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        if 0 < len(examples) < context.optimization.batch_size:
            policy.model.eval()
            return policy
        return super().fit(policy, examples, budget, context)


@dataclass(frozen=True, kw_only=True)
class StopsShort(Own):
    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        return super().fit(policy, examples, replace(budget, steps=max(1, budget.steps - 1)), context)


@dataclass(frozen=True, kw_only=True)
class ShorterHalf(MaximumLikelihood):
    """Conforms: it reads a part of every batch, and the loop counts what it reads."""

    def prepare(self, expert: list[Trajectory], policy: Policy, context: Context) -> Preparation:
        return lambda trajectories, step: sorted(trajectories, key=len)[: max(1, len(trajectories) // 2)]
