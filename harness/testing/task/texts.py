"""Texts of examples are such that a policy can write them, token by token, and a reader can tell them from controls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.testing.battery import require
from harness.testing.task.battery import TASK
from harness.testing.task.subject import Column, TaskSubject
from tasks.base import Split
from tasks.settings import SPLITS
from trainers.actions import BACKSPACE_TOKEN


@TASK.check()
def texts_have_no_special_tokens(subject: TaskSubject) -> None:
    """No text has <bksp> or a special token of the tokenizer in it, which would be read as an action."""
    special = sorted({BACKSPACE_TOKEN, *subject.prepared.tokenizer.all_special_tokens})
    for split, column, texts in _texts(subject):
        found = [(token, text) for text in texts for token in special if token in text]
        require(
            not found,
            f"{len(found)} {split} {column}s have a special token in them, for example {found[:1]}: it is encoded "
            "as an action and not as text; strip it, or leave the text out",
        )


@TASK.check()
def prompt_and_completion_are_tokenised_alike_apart_and_together(subject: TaskSubject) -> None:
    """The tokens of a prompt, then those of its completion, are the tokens of both together."""
    for split in SPLITS:
        rows = subject.sample(split)
        whole = [prompt + completion for prompt, completion in zip(rows.prompts, rows.completions, strict=True)]
        pieces = zip(subject.encoded(split, "prompt"), subject.encoded(split, "completion"), strict=True)
        changed = [
            text
            for text, (first, second), together in zip(whole, pieces, subject.encode(whole), strict=True)
            if [*first, *second] != together
        ]
        require(
            len(changed) <= len(whole) // 100,
            f"{len(changed)} of {len(whole)} examples of {split} have other tokens apart than together, for example "
            f"{changed[:1]}: let prompts end where a tokenizer cuts, with a newline or before a space, or a "
            "pre-trained policy continues them badly",
        )


@TASK.check()
def the_corpus_has_every_character_of_training(subject: TaskSubject) -> None:
    """A tokenizer that knows the corpus only can write every character of the training examples."""
    known = set[str]().union(*map(set, subject.prepared.task.corpus()))
    rows = subject.rows("train")
    unknown = set("".join(rows.prompts) + "".join(rows.completions)) - known
    require(
        not unknown,
        f"training has {len(unknown)} characters that are not in the corpus, such as {sorted(unknown)[:5]}: yield the "
        "training text from corpus() as the examples have it, or model.fresh.alphabet = 'seen' cannot write it",
    )


def _texts(subject: TaskSubject) -> Iterator[tuple[Split, Column, Sequence[str]]]:
    """All texts, by split and column."""
    for split in SPLITS:
        rows = subject.rows(split)
        yield split, "prompt", rows.prompts
        yield split, "completion", rows.completions
