"""A trainer learns: losses are finite, the data becomes likely, and a batch seen again and again is known by heart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.testing.battery import require, skip
from harness.testing.trainer.battery import TRAINER
from harness.testing.trainer.comparing import changed, weights
from harness.testing.trainer.subject import MAX_ACTIONS, MAX_NEW_TOKENS, TrainerSubject
from trainers.base import Budget
from trainers.decoding import Decoder

if TYPE_CHECKING:
    from datasets import Dataset

    from trainers.policy import Policy

RATE = 1e-2
"""Learning rate at which the small policy learns fast."""
BY_HEART = 0.3
"""Nats per action, of some 2 at first; a likelihood with noise and the match to one's own samples reach 0.02."""


def nats(policy: Policy, examples: Dataset) -> float:
    """Negative log-likelihood per action, ``<bksp>`` masked out: what all objectives must lower, their own or not."""
    sums, counts = policy.log_likelihood(examples["prompt"], examples["completion"], examples["finished"])
    return float(-sums.sum() / counts.sum())


@TRAINER.check()
def losses_are_finite(subject: TrainerSubject) -> None:
    """Every loss of the learning curve is a finite number."""
    subject.skip_unless_it_learns()
    losses = subject.fit(budget=Budget(steps=8)).losses
    require(losses, "the learning curve has no row with a 'loss': call context.report({'step': ..., 'loss': ...})")
    broken = [step for step, loss in enumerate(losses) if not math.isfinite(loss)]
    require(not broken, f"the loss is not finite in rows {broken} of the learning curve")


@TRAINER.check()
def the_loss_is_per_action(subject: TrainerSubject) -> None:
    """The loss of the learning curve is in nats per action step: it does not grow with the batch."""
    subject.skip_unless_it_learns()
    examples = subject.examples(1).select([0] * 8)
    small, large = (subject.fit(examples=examples, batch_size=size).losses[:1] for size in (2, 8))
    if not small or not large:
        skip("the learning curve has no loss")
    require(
        abs(small[0] - large[0]) < 0.1 + 0.5 * abs(small[0]),
        f"on 2 copies of an example the first loss is {small[0]:.3f}, on 8 copies {large[0]:.3f}: divide the sum by "
        "the number of action steps of the batch",
    )


@TRAINER.check()
def training_makes_the_data_likelier(subject: TrainerSubject) -> None:
    """The negative log-likelihood of the training data falls."""
    subject.skip_unless_it_learns()
    examples = subject.examples()
    before = nats(subject.policy(), examples)
    after = nats(subject.fit(budget=Budget(steps=20), learning_rate=RATE).policy, examples)
    require(
        after < before,
        f"it was {before:.3f} nats per action before and {after:.3f} after 20 steps at learning rate {RATE}: does the "
        "gradient reach the weights, and with the right sign?",
    )


@TRAINER.check()
def a_batch_is_learnt_by_heart(subject: TrainerSubject) -> None:
    """Four examples seen 60 times over are known by heart, their ends included."""
    subject.skip_unless_it_learns()
    examples = subject.examples(4, finished=True)
    policy = subject.fit(budget=Budget(steps=60), learning_rate=RATE, examples=examples).policy
    found = nats(policy, examples)
    require(
        found < BY_HEART,
        f"after 60 steps on 4 examples they still cost {found:.3f} nats per action, not less than {BY_HEART}: are "
        "labels shifted by one, or is part of the completion or its end masked out?",
    )


@TRAINER.check()
def generation_shows_what_was_learnt(subject: TrainerSubject) -> None:
    """Greedy decoding writes the completions that were learnt by heart."""
    subject.skip_unless_it_learns()
    examples = subject.examples(4, finished=True)
    policy = subject.fit(budget=Budget(steps=60), learning_rate=RATE, examples=examples).policy
    written = policy.generate(examples["prompt"], Decoder(temperature=0), 0, MAX_NEW_TOKENS, MAX_ACTIONS)
    wrong = [
        f"{got!r} for {want!r}"
        for got, want in zip(written["completion"], examples["completion"], strict=True)
        if got != want
    ]
    require(not wrong, f"the policy writes {', '.join(wrong)}: training and generation see different texts")


@TRAINER.check()
def a_trainer_that_does_not_learn_changes_nothing(subject: TrainerSubject) -> None:
    """With ``learns = False`` the policy stays as it was, bit for bit."""
    if subject.plugin.cls.learns:
        skip("the trainer learns")
    names = changed(weights(subject.policy()), weights(subject.fit(learning_rate=RATE).policy))
    require(not names, f"training changed {', '.join(names)}; set learns = True if it is meant to")


@TRAINER.check()
def a_cut_example_teaches_no_end(subject: TrainerSubject) -> None:
    """Where ``finished`` is False, the end of the text is not taught: the example was cut out of a longer text."""
    subject.skip_unless_it_learns()
    examples = subject.examples(4, finished=False)
    policy = subject.fit(budget=Budget(steps=40), learning_rate=RATE, examples=examples).policy
    prompts, completions = list(examples["prompt"]), list(examples["completion"])
    ended, _ = policy.log_likelihood(prompts, completions, [True] * 4)
    cut, _ = policy.log_likelihood(prompts, completions, [False] * 4)
    worst = math.exp(float((ended - cut).max()))
    require(
        worst < 0.5,
        f"after training on cut examples alone the text ends there with probability {worst:.2f}: add the end token "
        "where `finished` is True only, and mask padding out even if it is the end token",
    )
