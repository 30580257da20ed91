"""What a trainer is: an algorithm that turns a policy and examples into a better policy, within a budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from trainers.checkpoints import Checkpoints, NoCheckpoints

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor

    from trainers.batches import Batch, Trajectory
    from trainers.noise import Noise
    from trainers.policy import Policy
    from trainers.rollouts import Rollouts

    Preparation = Callable[[list[Trajectory], int], list[Trajectory]]


class TrainerError(RuntimeError):
    """Training cannot go on (a loss that is not finite, say); the message says at which step and why."""


@dataclass(frozen=True)
class Loss:
    """A loss summed over action steps, so that the loop can normalise it globally.

    Attributes:
        total: scalar tensor, the sum over steps (nats).
        steps: how many action steps the sum runs over.
        log: further sums worth recording (nats), normalised like ``total``.
    """

    total: Tensor
    steps: int
    log: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a trainer may spend; read-only to it. The first limit reached ends training.

    Attributes:
        steps: optimiser steps.
        tokens: tokens read in training.
        generated_tokens: tokens sampled in training.
        seconds: wall-clock seconds.
    """

    steps: int
    tokens: int | None = None
    generated_tokens: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "tokens", "generated_tokens", "seconds"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ValueError(f"budget: {name} must be positive, got {limit}")


@dataclass(kw_only=True)
class Meter:
    """What training has spent so far, on all clocks at once.

    FLOPs are estimated as 6 (training) or 2 (sampling) times parameters times tokens
    (Kaplan et al. 2020, arXiv 2001.08361).
    """

    parameters: int = 0
    steps: int = 0
    tokens: int = 0
    generated_tokens: int = 0
    flops: float = 0.0
    started: float = field(default_factory=time.monotonic)
    paused_at: float | None = None

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since training began, pauses left out."""
        return (time.monotonic() if self.paused_at is None else self.paused_at) - self.started

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the wall clock for something that is not training; pauses must not be nested."""
        self.paused_at = time.monotonic()
        try:
            yield
        finally:
            self.started += time.monotonic() - self.paused_at
            self.paused_at = None

    def train(self, tokens: int) -> None:
        """Count one optimiser step over ``tokens`` input tokens."""
        self.steps += 1
        self.tokens += tokens
        self.flops += 6.0 * self.parameters * tokens

    def sample(self, tokens: int) -> None:
        """Count ``tokens`` sampled tokens."""
        self.generated_tokens += tokens
        self.flops += 2.0 * self.parameters * tokens

    def read(self, tokens: int) -> None:
        """Count a forward pass over ``tokens`` tokens that neither trains nor samples."""
        self.flops += 2.0 * self.parameters * tokens

    def exhausted(self, budget: Budget) -> bool:
        """Whether any limit of the budget is reached."""
        limits = (
            (self.steps, budget.steps),
            (self.tokens, budget.tokens),
            (self.generated_tokens, budget.generated_tokens),
            (self.seconds, budget.seconds),
        )
        return any(limit is not None and spent >= limit for spent, limit in limits)

    def state(self) -> dict[str, float]:
        """What has been spent, to be restored."""
        return {"steps": self.steps, **self.reading()}

    def restore(self, state: Mapping[str, float]) -> None:
        """Go back to a state; the wall clock goes on from there."""
        self.steps, self.flops = int(state["steps"]), state["flops"]
        self.tokens, self.generated_tokens = int(state["tokens"]), int(state["generated_tokens"])
        self.started = time.monotonic() - state["seconds"]

    def reading(self) -> dict[str, float]:
        """All clocks, under the column names of the results table."""
        return {
            "tokens": self.tokens,
            "generated_tokens": self.generated_tokens,
            "flops": self.flops,
            "seconds": self.seconds,
        }


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """How the shared loop optimises: AdamW, linear warm-up, cosine decay, clipped gradients.

    Attributes:
        learning_rate: peak learning rate.
        batch_size: examples per optimiser step, over all micro-batches and processes.
        accumulation: micro-batches per optimiser step; changes memory, not the result.
        warmup: share of the steps over which the learning rate rises linearly.
        weight_decay: AdamW weight decay.
        max_grad_norm: gradients are clipped to this norm.
        precision: "no" (float32), "bf16" or "fp16", as in accelerate.
        log_every: optimiser steps between rows of the learning curve.
    """

    learning_rate: float = 1e-3
    batch_size: int = 32
    accumulation: int = 1
    warmup: float = 0.05
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    precision: Literal["no", "bf16", "fp16"] = "no"
    log_every: int = 10

    def __post_init__(self) -> None:
        if not 1 <= self.accumulation <= self.batch_size:
            raise ValueError(
                f"optimization: accumulation must lie in [1, batch_size = {self.batch_size}], got {self.accumulation}"
            )
        if not 0 <= self.warmup <= 1:
            raise ValueError(f"optimization: warmup is a share of the steps in [0, 1], got {self.warmup}")
        if not self.weight_decay >= 0:
            raise ValueError(f"optimization: weight_decay must be at least 0, got {self.weight_decay}")
        for name in ("learning_rate", "max_grad_norm", "log_every"):
            if not getattr(self, name) > 0:
                raise ValueError(f"optimization: {name} must be positive, got {getattr(self, name)}")


def _unchanged(trajectories: list[Trajectory], step: int) -> list[Trajectory]:
    del step
    return trajectories


def _discard(row: Mapping[str, float]) -> None:
    del row


def _do_not_evaluate(policy: Policy) -> None:
    del policy


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the harness lends a trainer for one trial.

    Attributes:
        seeds: one seed per named axis (``order``, ``noise``, ``rollout``, ``dropout``); every random
            draw of a trainer comes from one of them, folded with the step.
        optimization: settings of the shared loop.
        meter: the clocks; the loop advances them.
        max_new_tokens: longest visible completion of the task, in tokens.
        max_actions: longest walk of the task, in actions.
        error_tokens: strings that make plausible mistakes in this task (noise of kind ``task``).
        report: called with each row of the learning curve: numbers, or tensors of one, by name; ``step`` among them.
        evaluate: called with the policy after every optimiser step; the harness measures it where a study asks for
            that, off the clock and without a trace in training.
        checkpoints: keeps the state of the shared loop every so often, and gives it back after a crash.
    """

    seeds: Mapping[str, int]
    optimization: Optimization = field(default_factory=Optimization)
    meter: Meter = field(default_factory=Meter)
    max_new_tokens: int = 64
    max_actions: int = 256
    error_tokens: tuple[str, ...] = ()
    report: Callable[[Mapping[str, float]], None] = _discard
    evaluate: Callable[[Policy], None] = _do_not_evaluate
    checkpoints: Checkpoints = field(default_factory=NoCheckpoints)


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """Turns a policy and examples into a better policy; the dataclass fields are its settings.

    Life cycle: the harness builds the trainer from a study's settings, loads a policy whose action
    space has ``<bksp>`` exactly if ``backspace`` is set, and calls ``fit`` once. A plug-in overrides
    ``loss`` (``prepare``, if it changes the data; ``rollouts``, if it learns from the policy's own text;
    ``learner``, if the model has more to it while it learns) and inherits the shared loop, or overrides ``fit``
    and owns training: then it advances ``context.meter`` itself, and is measured before the end only if it calls
    ``context.evaluate`` after its optimiser steps. A trainer keeps no state on itself: one instance may fit
    many policies.
    """

    backspace: ClassVar[bool] = False
    """Whether the action space of the policy has ``<bksp>``."""

    learns: ClassVar[bool] = True
    """Whether ``fit`` is meant to change the policy; the conformance checks of learning are skipped if not."""

    def __post_init__(self) -> None:
        """Refuse impossible settings by a ``ValueError`` that names them."""

    def loss(self, policy: Policy, batch: Batch) -> Loss:
        """Return the loss of one (micro-)batch, summed over its action steps.

        Args:
            policy: the policy being trained, in training mode.
            batch: laid-out trajectories of the data, and of the policy itself where ``rollouts`` asks for them.
        """
        del policy, batch
        raise TrainerError(f"{type(self).__name__} overrides neither loss() nor fit()")

    def prepare(self, expert: list[Trajectory], policy: Policy, context: Context) -> Preparation:
        """Say how the trajectories of an optimiser step change before they are laid out (noise, say).

        Args:
            expert: all training data, for what must be known of it beforehand.
            policy: the policy about to be trained.
            context: seeds and settings.

        Returns:
            What turns the trajectories of a step, and the step's number, into those to train on.
        """
        del expert, policy, context
        return _unchanged

    def rollouts(self, optimization: Optimization, steps: int) -> Rollouts | None:
        """Say when the policy's own trajectories are sampled to learn from, as ``batch.rollouts``; None: never.

        Args:
            optimization: settings of the shared loop.
            steps: optimiser steps of the budget.
        """
        del optimization, steps
        return None

    def rollout_noise(self, expert: list[Trajectory], policy: Policy, context: Context) -> Noise | None:
        """Say what noise acts in the policy's own trajectories, if any; arguments as in ``prepare``."""
        del expert, policy, context
        return None

    @contextmanager
    def learner(self, policy: Policy, examples: Dataset, context: Context) -> Iterator[Trainer]:
        """Make what there is only while the policy learns (a further head of its model, say).

        Args:
            policy: the policy about to be trained; what becomes part of its model is trained, saved in checkpoints and
                has to leave it again.
            examples: as in ``fit``; a variant of the trainer may suit them better.
            context: seeds and settings.

        Yields:
            The trainer whose ``loss`` is minimised.
        """
        del policy, examples, context
        yield self

    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        """Train ``policy`` on ``examples`` within ``budget`` and return it.

        Args:
            policy: what to start from; may be changed in place.
            examples: columns ``prompt``, ``completion``, ``finished``.
            budget: what may be spent; ``context.meter`` says what has been.
            context: seeds, clocks and settings.

        Raises:
            TrainerError: if the loss is not finite.
        """
        from trainers.loop import train

        return train(self, policy, examples, budget, context)
