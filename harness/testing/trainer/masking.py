"""A trainer learns from the expert's actions, and not from prompts, padding or noise."""

from __future__ import annotations

from harness.testing.battery import require, skip
from harness.testing.trainer.battery import TRAINER
from harness.testing.trainer.slots import Row, trained_rows
from harness.testing.trainer.subject import WORDS, TrainerSubject
from trainers.base import Budget

EPSILON = 1e-6
"""A gradient below this is rounding."""


@TRAINER.check()
def prompts_are_not_trained_on(subject: TrainerSubject) -> None:
    """No gradient flows into logits at the tokens of a prompt before its last one: prompts are given, not written."""
    subject.skip_unless_it_learns()
    for row in trained_rows(subject, subject.examples()):
        inside = [slot for slot in row.pushed if slot < row.start + row.prompt - 1]
        require(
            not inside,
            f"gradient flows at slots {inside} of a prompt of {row.prompt} tokens: mask the labels of prompt tokens",
        )


@TRAINER.check()
def padding_is_not_trained_on(subject: TrainerSubject) -> None:
    """No gradient flows into logits at padding, before the text or after its end."""
    subject.skip_unless_it_learns()
    rows = trained_rows(subject, subject.examples(), budget=Budget(steps=3), batch_size=len(WORDS))
    padded = [row for row in rows if row.start > 0 or row.end < len(row.ids)]
    if not padded:
        skip("no row has padding")
    for row in padded:
        outside = [slot for slot in row.pushed if not row.start <= slot < row.end]
        require(
            not outside,
            f"gradient flows at slots {outside} of a row whose text takes slots {row.start} to {row.end - 1}: mask the "
            "labels of the padding, and do not tell it by the token if that is the end token too",
        )


def _noisy(subject: TrainerSubject) -> tuple[list[Row], int]:
    """Rows with noise, and the action that erases it."""
    subject.skip_unless_it_learns()
    bksp = subject.policy().actions.bksp
    if bksp is None:
        skip("the trainer has no <bksp>")
    rows = trained_rows(subject, subject.examples(), budget=Budget(steps=20), batch_size=len(WORDS))
    noisy = [row for row in rows if row.erased(bksp)]
    if not noisy:
        skip(f"no noise in {len(rows)} rows of the data")
    return noisy, bksp


@TRAINER.check()
def noise_is_not_imitated(subject: TrainerSubject) -> None:
    """A token that is erased at once is no act of the expert: its probability is not raised."""
    rows, bksp = _noisy(subject)
    for row in rows:
        for slot in row.erased(bksp):
            favour = row.favour(slot - 1, row.ids[slot])
            require(
                favour > -EPSILON,
                f"the gradient raises the noise token in slot {slot} (by {-favour:.2e}): the environment wrote it, "
                "mask its label out (Sequences.acts does)",
            )


@TRAINER.check()
def erasing_noise_is_learnt(subject: TrainerSubject) -> None:
    """After a noise token, ``<bksp>`` is what the expert does: its probability is raised."""
    rows, bksp = _noisy(subject)
    favours = [row.favour(slot, bksp) for row in rows for slot in row.erased(bksp)]
    require(
        all(favour < 0 for favour in favours),
        f"after {sum(favour >= 0 for favour in favours)} of {len(favours)} noise tokens the gradient does not raise "
        "<bksp>: it is an act of the expert, keep its label",
    )
