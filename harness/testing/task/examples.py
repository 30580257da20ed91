"""The examples of a task: there are some in every split, in the columns that all else reads, and splits are apart."""

from __future__ import annotations

from typing import cast

from harness.testing.battery import require, skip
from harness.testing.task.battery import TASK
from harness.testing.task.subject import Rows, TaskSubject, columns_problem
from tasks.base import Split, TaskError
from tasks.settings import SPLITS


@TASK.check()
def every_split_has_examples(subject: TaskSubject) -> None:
    """There are examples in training, validation and test."""
    empty = [split for split in SPLITS if not len(subject.prepared.tables[split])]
    require(not empty, f"there are no examples in {' and '.join(empty)}: raise TaskError where the settings leave none")


@TASK.check()
def examples_have_the_columns(subject: TaskSubject) -> None:
    """Examples are a datasets.Dataset with the columns prompt, completion (strings) and finished (bool)."""
    for split in SPLITS:
        problem = columns_problem(subject.prepared.tables[split])
        require(not problem, f"examples of {split}: {problem}; tasks.examples.examples_table makes the table")


@TASK.check()
def completions_are_not_empty(subject: TaskSubject) -> None:
    """Every example has something to be written."""
    for split in SPLITS:
        places = [place for place, text in enumerate(subject.rows(split).completions) if not text]
        require(
            not places,
            f"{len(places)} completions of {split} are empty, the first in row {places[:1]}: there is nothing to learn "
            "in them but to stop; leave them out",
        )


@TASK.check()
def an_unknown_split_is_an_error(subject: TaskSubject) -> None:
    """Examples of a split that does not exist are a TaskError, and not some other split."""
    wrong = cast("Split", "tset")
    try:
        table = subject.small().examples(wrong, subject.tokenizer)
    except TaskError:
        return
    except Exception as error:
        require(False, f"examples('tset', ...) raises {type(error).__name__}: raise TaskError, and name the splits")
    require(False, f"examples('tset', ...) gives {len(table)} examples: raise TaskError, and name the splits")


@TASK.check()
def training_holds_no_test_example(subject: TaskSubject) -> None:
    """Where splits are disjoint, no prompt of test or validation (or, without prompts, completion) is in training."""
    _skip_unless_disjoint(subject)
    for split in ("validation", "test"):
        _require_apart(subject, "train", split)


@TASK.check()
def validation_holds_no_test_example(subject: TaskSubject) -> None:
    """Where splits are disjoint, no prompt of the test split (or, without prompts, completion) is in validation."""
    _skip_unless_disjoint(subject)
    _require_apart(subject, "validation", "test")


@TASK.check()
def the_corpus_holds_no_test_example(subject: TaskSubject) -> None:
    """Where splits are disjoint, the tokenizer's corpus has no test prompt with its completion in it."""
    _skip_unless_disjoint(subject)
    pieces, rows = set(subject.prepared.task.corpus()), subject.rows("test")
    corpus = "\0".join(pieces)
    texts = [prompt + completion for prompt, completion in zip(rows.prompts, rows.completions, strict=True)]
    # A text of a few characters, a word say, is in any corpus by itself, but no text of its own there.
    leaked = [text for text in texts if text in pieces or (len(text) >= 16 and text in corpus)]
    require(
        len(leaked) <= len(texts) // 100,
        f"{len(leaked)} of {len(texts)} test examples are in the corpus, for example {leaked[:1]}: yield the training "
        "text only",
    )


def _skip_unless_disjoint(subject: TaskSubject) -> None:
    if not subject.plugin.cls.disjoint:
        skip("the task says that its splits are not disjoint")


def _require_apart(subject: TaskSubject, known: Split, held_out: Split) -> None:
    seen = set(_questions(subject.rows(known)))
    shared = [question for question in _questions(subject.rows(held_out)) if question in seen]
    require(
        not shared,
        f"{len(shared)} examples of {held_out} are in {known} too, for example {shared[:1]}: keep the splits apart, or "
        "set disjoint = False where they are independent samples of one distribution",
    )


def _questions(rows: Rows) -> list[str]:
    return [prompt or completion for prompt, completion in zip(rows.prompts, rows.completions, strict=True)]
