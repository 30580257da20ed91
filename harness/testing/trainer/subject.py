"""A trainer with a small world to train in: a fresh policy, a few words to copy, and a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.seeding import TRAINING_AXES, axis_seed, axis_seeds
from harness.testing.battery import skip
from harness.testing.subjects import Plugin
from trainers.base import Budget, Context, Meter, Optimization, Trainer
from trainers.model_spec import FreshModel, ModelSpec
from trainers.models import build_policy, tokenizer_for

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from trainers.policy import Policy

WORDS = ("bad", "cab", "dab", "ace", "bed", "cafe", "deaf", "fade", "face", "bead", "dead", "fed")
MAX_NEW_TOKENS, MAX_ACTIONS = 6, 24
MODEL = FreshModel(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
    max_position_embeddings=48,
    merges=0,
    alphabet="seen",
)


def _ignore(what: object) -> None:
    del what


@dataclass(frozen=True)
class Fitted:
    """What a training gave.

    Attributes:
        policy: what ``fit`` returned.
        rows: of the learning curve.
        meter: what was spent.
        evaluated: optimiser steps after which ``context.evaluate`` was called.
    """

    policy: Policy
    rows: list[dict[str, float]]
    meter: Meter
    evaluated: list[int]

    @property
    def losses(self) -> list[float]:
        """The loss of every row that has one (nats per action step)."""
        return [row["loss"] for row in self.rows if "loss" in row]


@dataclass
class TrainerSubject:
    """A trainer to be checked.

    Attributes:
        plugin: where it comes from, and its settings.
        model: what policies are made of.
    """

    plugin: Plugin[Trainer]
    model: ModelSpec = field(default_factory=lambda: ModelSpec(fresh=MODEL))

    def with_class(self, cls: type[Trainer]) -> TrainerSubject:
        """A subject with another class under the same settings."""
        return TrainerSubject(replace(self.plugin, cls=cls), self.model)

    def skip_unless_it_learns(self) -> None:
        """End the check for a trainer that is not meant to change the policy."""
        if not self.plugin.cls.learns:
            skip("the trainer is not meant to change the policy (learns = False)")

    def trainer(self, **settings: Any) -> Trainer:
        """A new trainer, with further settings."""
        return self.plugin.create(**settings)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """One token per letter of the words."""
        return tokenizer_for(self.model, lambda: iter(WORDS), None)

    def policy(self, seed: int = 0) -> Policy:
        """A fresh policy with the trainer's action space; equal seeds give equal weights."""
        backspace, init = self.plugin.cls.backspace, axis_seed(seed, "init")
        return build_policy(self.model, self.tokenizer, backspace=backspace, seed=init)

    def examples(self, count: int = len(WORDS), *, finished: bool | None = None) -> Dataset:
        """Words to be copied: columns ``prompt``, ``completion``, ``finished``; if not given, only the last is cut."""
        from datasets import Dataset

        words = [WORDS[index % len(WORDS)] for index in range(count)]
        ends = [index < count - 1 or count == 1 if finished is None else finished for index in range(count)]
        return Dataset.from_dict({"prompt": words, "completion": words, "finished": ends})

    def context(
        self,
        *,
        seeds: Mapping[str, int] | None = None,
        meter: Meter | None = None,
        report: Callable[[Mapping[str, float]], None] = _ignore,
        evaluate: Callable[[Policy], None] = _ignore,
        **optimization: Any,
    ) -> Context:
        """What the harness lends a trainer; see ``fit`` for the arguments."""
        return Context(
            seeds=axis_seeds(0, TRAINING_AXES) if seeds is None else seeds,
            optimization=Optimization(**{"batch_size": 4, "log_every": 1, **optimization}),
            meter=meter or Meter(),
            max_new_tokens=MAX_NEW_TOKENS,
            max_actions=MAX_ACTIONS,
            error_tokens=("a", "b", "c", "d", "e", "f"),
            report=report,
            evaluate=evaluate,
        )

    def fit(
        self,
        *,
        budget: Budget | None = None,
        examples: Dataset | None = None,
        policy: Policy | None = None,
        trainer: Trainer | None = None,
        meter: Meter | None = None,
        evaluate: Callable[[Policy], None] = _ignore,
        **context: Any,
    ) -> Fitted:
        """Train a fresh policy on the words.

        Args:
            budget: 4 steps if not given.
            examples: the words if not given.
            policy: a fresh one if not given.
            trainer: a new one if not given.
            meter: a new one if not given; it counts the FLOPs of the policy, as that of a trial does.
            evaluate: called with the policy too, where the trainer asks for a measurement.
            **context: ``seeds`` of all axes, those of seed 0 if not given; and fields of ``Optimization``: 4 examples a
                step and a row of the curve for every step if not given.
        """
        rows, evaluated, clocks = list[dict[str, float]](), list[int](), meter or Meter()
        given = policy or self.policy()
        clocks.parameters = given.parameters

        def measure(policy: Policy) -> None:
            evaluated.append(clocks.steps)
            evaluate(policy)

        trained = (trainer or self.trainer()).fit(
            given,
            self.examples() if examples is None else examples,
            budget or Budget(steps=4),
            self.context(meter=clocks, report=lambda row: rows.append(dict(row)), evaluate=measure, **context),
        )
        return Fitted(trained, rows, clocks, evaluated)
