"""A training can be done again: its result depends on the seeds it is given, and on nothing else."""

from __future__ import annotations

import tempfile
from contextlib import chdir

from harness.seeding import TRAINING_AXES, axis_seeds
from harness.testing.battery import require, skip
from harness.testing.random_states import seed_all, states, touched
from harness.testing.trainer.battery import TRAINER
from harness.testing.trainer.comparing import changed, difference, largest_change, weights
from harness.testing.trainer.subject import TrainerSubject
from trainers.base import Budget, Trainer

STEPS = Budget(steps=6)
NOISE = 3e-5
"""What sums in another order come to after a few steps is less: some 1e-6."""


@TRAINER.check()
def equal_seeds_give_equal_bits(subject: TrainerSubject) -> None:
    """Two trainings with the same seeds give the same weights and the same learning curve, bit for bit."""
    found = difference(subject.fit(budget=STEPS), subject.fit(budget=STEPS))
    require(
        not found,
        f"the same training twice: {found}; take every draw from context.seeds folded with the step, and keep no state "
        "in the module or the class",
    )


@TRAINER.check()
def the_order_of_the_data_follows_its_seed(subject: TrainerSubject) -> None:
    """Another seed of the axis ``order`` gives another result, where the order of the data matters at all."""
    subject.skip_unless_it_learns()
    examples = subject.examples(finished=True)
    backwards = examples.select(range(len(examples) - 1, -1, -1))
    seeds = axis_seeds(0, TRAINING_AXES)
    one, other, turned = (
        weights(subject.fit(budget=STEPS, examples=data, seeds={**seeds, "order": order}).policy)
        for data, order in ((examples, seeds["order"]), (examples, seeds["order"] + 1), (backwards, seeds["order"]))
    )
    if largest_change(one, turned) < NOISE:
        skip("the order of the examples does not matter to the trainer")
    require(
        changed(one, other),
        "the order of the examples matters, and another context.seeds['order'] changes nothing: shuffle with a "
        "generator of that seed",
    )


@TRAINER.check()
def an_instance_keeps_no_state(subject: TrainerSubject) -> None:
    """A trainer that has trained one policy trains the next as a new one would."""
    used = subject.trainer()
    subject.fit(trainer=used, seeds=axis_seeds(7, TRAINING_AXES), examples=subject.examples(5))
    found = difference(subject.fit(trainer=used), subject.fit())
    require(
        not found,
        f"an instance that trained before, against a new one: {found}; keep state in fit(), not on the trainer",
    )


@TRAINER.check()
def global_random_state_does_not_matter(subject: TrainerSubject) -> None:
    """The global generators of Python, numpy and torch may stand anywhere when training begins."""
    runs = []
    for seed in (1, 2):
        seed_all(seed)
        runs.append(subject.fit(budget=STEPS))
    found = difference(*runs)
    require(not found, f"after other global seeds: {found}; draw from generators made from context.seeds")


@TRAINER.check()
def global_random_state_is_left_alone(subject: TrainerSubject) -> None:
    """Training does not move the global generators of Python, numpy and torch."""
    policy, examples, before = subject.policy(), subject.examples(), states()
    subject.fit(policy=policy, examples=examples)
    moved = touched(before)
    require(
        not moved,
        f"training moved the global generator of {' and of '.join(moved)}: draw from generators of your own, and wrap "
        "what needs the global one of torch in torch.random.fork_rng()",
    )


@TRAINER.check()
def the_folder_does_not_matter(subject: TrainerSubject) -> None:
    """Training in another working directory gives the same."""
    first = subject.fit()
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        found = difference(first, subject.fit())
    require(not found, f"in another working directory: {found}; name files relative to the module, not to the folder")


@TRAINER.check()
def micro_batches_change_nothing(subject: TrainerSubject) -> None:
    """``optimization.accumulation`` changes memory, and not the result."""
    fitted = subject.fit()
    if fitted.meter.generated_tokens and subject.plugin.cls.loss is Trainer.loss:
        skip("the trainer samples in a loop of its own, and what is sampled may follow the micro-batches")
    whole = weights(fitted.policy)
    for parts in (2, 4):
        gap = largest_change(whole, weights(subject.fit(accumulation=parts).policy))
        require(
            gap < NOISE,
            f"with {parts} micro-batches per step a weight differs by {gap:.1e} from training without: sum the loss "
            "over action steps, and divide by the number of steps of the whole batch once",
        )
