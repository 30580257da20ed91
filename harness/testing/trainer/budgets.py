"""A trainer spends what it may and no more, and the meter says what it spent."""

from __future__ import annotations

import math

from harness.testing.battery import require, skip
from harness.testing.trainer.battery import TRAINER
from harness.testing.trainer.comparing import changed, weights
from harness.testing.trainer.subject import TrainerSubject
from harness.testing.trainer.watching import Clocks, WatchedMeter, optimizer_steps
from trainers.base import Budget, Meter, Trainer
from trainers.batches import trajectories_of

STEPS = 6


def spending(subject: TrainerSubject, budget: Budget) -> list[Clocks]:
    """The meter after every optimiser step of a training; the check is skipped if nothing is spent step by step."""
    meter = WatchedMeter()
    subject.fit(budget=budget, meter=meter)
    if not meter.history:
        skip("the trainer spends nothing, step by step")
    return meter.history


def _starved(tokens: int | None = None, generated_tokens: int | None = None) -> Budget:
    return Budget(steps=STEPS, tokens=tokens, generated_tokens=generated_tokens)


@TRAINER.check()
def steps_end_training(subject: TrainerSubject) -> None:
    """Training takes as many optimiser steps as the budget has, one if it has one."""
    for steps in (1, 5):
        spent = subject.fit(budget=Budget(steps=steps)).meter.steps
        require(spent <= steps, f"{spent} steps were taken of a budget of {steps}")
        require(
            spent == steps or not subject.plugin.cls.learns,
            f"only {spent} steps were taken of a budget of {steps}: go on until context.meter.exhausted(budget), and "
            "count each with context.meter.train(tokens)",
        )


@TRAINER.check()
def tokens_end_training(subject: TrainerSubject) -> None:
    """Training ends with the first step that reaches the budget of tokens."""
    middle = spending(subject, Budget(steps=STEPS))[:-1][-1:]
    for limit in (1, *(clocks.tokens + more for clocks in middle for more in (0, 1))):
        history = spending(subject, _starved(tokens=limit))
        reach = next((step for step, clocks in enumerate(history, 1) if clocks.tokens >= limit), STEPS)
        require(
            len(history) == reach,
            f"with a budget of {limit} tokens {len(history)} steps were taken; {reach} steps reach it: ask "
            "context.meter.exhausted(budget) before every step",
        )


@TRAINER.check()
def generated_tokens_end_training(subject: TrainerSubject) -> None:
    """Training ends with the first step that reaches the budget of tokens sampled in training."""
    free = spending(subject, Budget(steps=STEPS))
    sampled = [clocks.generated_tokens for clocks in free]
    if not sampled[-1]:
        skip(f"the trainer samples nothing in {STEPS} steps")
    stop = 1 + next(step for step, spent in enumerate(sampled) if spent)
    taken = len(spending(subject, _starved(generated_tokens=1)))
    require(
        taken == stop,
        f"with a budget of one generated token {taken} steps were taken; the first {stop} reach it: ask "
        "context.meter.exhausted(budget) before every step",
    )


@TRAINER.check()
def seconds_end_training(subject: TrainerSubject) -> None:
    """Training ends with the first step after which the time is up."""
    meter = WatchedMeter()

    def time_passes(clocks: WatchedMeter) -> None:
        if clocks.steps == 2:
            clocks.started -= 2e6

    meter.after = time_passes
    subject.fit(budget=Budget(steps=STEPS, seconds=1e6), meter=meter)
    if not meter.history:
        skip("the trainer spends nothing, step by step")
    require(
        meter.steps <= 2,
        f"the time was up after step 2, and {meter.steps} steps were taken: ask context.meter.exhausted(budget) before "
        "every step",
    )


@TRAINER.check()
def an_exhausted_budget_trains_nothing(subject: TrainerSubject) -> None:
    """Where nothing is left of the budget, no step is taken and the policy stays as it was."""
    meter = Meter()
    meter.started -= 2e6
    fitted = subject.fit(budget=Budget(steps=STEPS, seconds=1e6), meter=meter)
    names = changed(weights(subject.policy()), weights(fitted.policy))
    require(
        not meter.steps and not names,
        f"the time was up before training, and {meter.steps} steps were taken and {len(names)} weights changed: ask "
        "context.meter.exhausted(budget) before the first step too",
    )


@TRAINER.check()
def the_meter_advances_step_by_step(subject: TrainerSubject) -> None:
    """After every optimiser step the clocks are finite, and steps, tokens and FLOPs have grown."""
    subject.skip_unless_it_learns()
    meter = WatchedMeter()
    subject.fit(budget=Budget(steps=STEPS), meter=meter)
    require(
        [clocks.steps for clocks in meter.history] == list(range(1, len(meter.history) + 1)) and meter.history,
        f"the meter showed steps {[clocks.steps for clocks in meter.history]}: call context.meter.train(tokens) once "
        "after every optimiser step",
    )
    before = Clocks(0, 0, 0, 0.0)
    for clocks in meter.history:
        require(
            clocks.tokens > before.tokens and clocks.generated_tokens >= before.generated_tokens,
            f"at step {clocks.steps} the tokens went from {before.tokens} to {clocks.tokens} and the generated ones "
            f"from {before.generated_tokens} to {clocks.generated_tokens}: pass the tokens read to context.meter.train "
            "and those sampled to context.meter.sample",
        )
        require(
            math.isfinite(clocks.flops) and clocks.flops > before.flops,
            f"at step {clocks.steps} the FLOPs went from {before.flops} to {clocks.flops}: leave "
            "context.meter.parameters and .flops to the meter",
        )
        before = clocks


@TRAINER.check()
def every_optimiser_step_is_counted(subject: TrainerSubject) -> None:
    """The meter counts the steps of the optimiser, micro-batches or not."""
    subject.skip_unless_it_learns()
    for accumulation in (1, 2):
        with optimizer_steps() as seen:
            counted = subject.fit(accumulation=accumulation).meter.steps
        if not seen:
            skip("no optimiser of torch was seen at work")
        if len(set(seen)) > 1:
            skip("several optimisers were at work")
        require(
            counted == len(seen),
            f"with {accumulation} micro-batches the optimiser took {len(seen)} steps and the meter counts {counted}: "
            "call context.meter.train(tokens) once per optimiser step",
        )


@TRAINER.check()
def tokens_are_counted_in_full(subject: TrainerSubject) -> None:
    """The meter counts at least the tokens of the examples as they are prepared, and not more than the model saw."""
    subject.skip_unless_it_learns()
    policy, seen = subject.policy(), list[int]()
    handle = policy.model.get_input_embeddings().register_forward_hook(
        lambda _, inputs, __: seen.append(inputs[0].numel())
    )
    examples = subject.examples(1).select([0] * 4)
    length = len(policy.prompt_ids(examples["prompt"][0])) + len(policy.encode(examples["completion"][0]))
    try:
        meter = subject.fit(policy=policy, examples=examples).meter
    finally:
        handle.remove()
    least = meter.steps * 4 * length
    if subject.plugin.cls.prepare is not Trainer.prepare:
        untrained = subject.policy()
        expert = trajectories_of(examples, untrained)
        prepared = subject.trainer().prepare(expert, untrained, subject.context())
        least = sum(sum(map(len, prepared(expert, step))) for step in range(meter.steps))
    require(
        least <= meter.tokens,
        f"{meter.steps} steps over 4 examples each read at least {least} tokens, and the meter counts {meter.tokens}: "
        "count prompts and completions of the whole batch",
    )
    require(
        meter.tokens <= sum(seen),
        f"the model saw {sum(seen)} tokens, padding included, and the meter counts {meter.tokens}",
    )
