"""A task is the same data for all who ask: it depends on its settings alone, and on no state of the process."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from contextlib import chdir

from datasets import Dataset

from harness.testing.battery import Tier, require, skip
from harness.testing.processes import call_in_a_process
from harness.testing.random_states import seed_all, states, touched
from harness.testing.subjects import task_of
from harness.testing.task.battery import TASK
from harness.testing.task.subject import TaskSubject
from harness.validation import plain, settings_of
from tasks.settings import SPLITS


@TASK.check()
def equal_settings_give_equal_examples(subject: TaskSubject) -> None:
    """Two instances with equal settings have the same examples, bit by bit."""
    first, second = subject.contents(subject.small()), subject.contents(subject.small())
    changed = [split for split in SPLITS if first[split] != second[split]]
    require(
        not changed, f"two instances have other examples in {_listed(changed)}: draw from np.random.default_rng(seed)"
    )


@TASK.check()
def the_order_of_calls_does_not_matter(subject: TaskSubject) -> None:
    """Splits have the same examples in whatever order, and how often, they are asked for."""
    first, task = subject.contents(subject.small()), subject.small()
    for order in (SPLITS[::-1], SPLITS):
        again = subject.contents(task, order)
        changed = [split for split in SPLITS if first[split] != again[split]]
        require(
            not changed,
            f"asked for in the order {_listed(order)}, {_listed(changed)} has other examples: give each split a random "
            "stream of its own, and start it anew in every call",
        )


@TASK.check()
def the_global_random_state_has_no_influence(subject: TaskSubject) -> None:
    """Examples do not depend on the state of random, numpy.random or torch."""
    found = []
    for seed in (0, 1):
        seed_all(seed)
        found.append(subject.contents(subject.small()))
    changed = [split for split in SPLITS if found[0][split] != found[1][split]]
    require(
        not changed,
        f"after other calls of random.seed, numpy.random.seed and torch.manual_seed {_listed(changed)} has other "
        "examples: draw from np.random.default_rng(seed)",
    )


@TASK.check()
def the_global_random_state_is_left_alone(subject: TaskSubject) -> None:
    """Making examples neither draws from random, numpy.random or torch nor seeds them."""
    tokenizer, sizes = subject.tokenizer, subject.sizes
    before = states()
    task = subject.task(**sizes)
    list(task.corpus())
    for split in SPLITS:
        task.examples(split, tokenizer)
    used = touched(before)
    require(not used, f"making examples changes the state of {_listed(used)}: use a generator of its own")


@TASK.check()
def another_seed_gives_other_examples(subject: TaskSubject) -> None:
    """The setting seed decides what is drawn, for training and for test."""
    if "seed" not in settings_of(subject.plugin.cls):
        skip("the task has no setting 'seed'")
    seed = plain(subject.prepared.task)["seed"]
    if type(seed) is not int:
        skip(f"its setting 'seed' is {seed!r}, not a number")
    first, second = (subject.contents(subject.small(seed=each)) for each in (seed, seed + 1))
    same = [split for split in ("train", "test") if first[split] == second[split]]
    require(not same, f"seed {seed} and seed {seed + 1} have the same examples in {_listed(same)}: fold the seed in")


@TASK.check()
def the_working_directory_does_not_matter(subject: TaskSubject) -> None:
    """The examples are the same from another working directory, and nothing is written into it."""
    settings = plain(subject.prepared.task).values()
    if any(
        isinstance(value, str) and not os.path.isabs(value) and value and os.path.exists(value) for value in settings
    ):
        skip("a setting is a path relative to the working directory")
    first = subject.contents(subject.small())
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        second = subject.contents(subject.small())
        written = sorted(os.listdir(folder))
    changed = [split for split in SPLITS if first[split] != second[split]]
    require(not changed, f"from another working directory {_listed(changed)} has other examples: use absolute paths")
    require(not written, f"it writes {_listed(written)} into the working directory: keep files in a cache folder")


@TASK.check()
def the_corpus_can_be_read_again(subject: TaskSubject) -> None:
    """The corpus is text, and the same every time it is asked for, by one instance and by two."""
    task = subject.small()
    read = [list(task.corpus()), list(task.corpus()), list(subject.small().corpus())]
    wrong = [text for text in read[0] if not isinstance(text, str)]
    require(not wrong, f"the corpus yields {type(wrong[0]).__name__ if wrong else ''}: yield strings")
    require(any(text.strip() for text in read[0]), "the corpus has no text in it: raise TaskError if there is none")
    for whose, again in (("a second call", read[1]), ("another instance", read[2])):
        require(
            read[0] == again,
            f"corpus() of {whose} yields {len(again)} texts, the first call {len(read[0])}, or they are not the same: "
            "make a new iterator in every call",
        )


@TASK.check()
def a_returned_table_is_the_callers_own(subject: TaskSubject) -> None:
    """What a caller does to the examples that it got does not change those that the next one gets."""
    task = subject.small()
    for split in SPLITS:
        table = task.examples(split, subject.tokenizer)
        names, expected = table.column_names, digest_rows(table)
        table.set_format("numpy")
        table.info.description = "changed by a caller"
        again = task.examples(split, subject.tokenizer)
        same = again.format["type"] is None and again.info.description != "changed by a caller"
        require(
            same and again.column_names == names and digest_rows(again) == expected,
            f"examples({split!r}) returns one object twice, and the second caller sees what the first did to it: make "
            "the table in every call",
        )


@TASK.check(Tier.FULL)
def another_process_has_the_same_examples(subject: TaskSubject) -> None:
    """Another Python process, with other hashes of strings, has the same examples."""
    settings = json.dumps({**subject.plugin.settings, **subject.sizes})
    here = subject.contents(subject.small())
    seed = 1 + (os.environ.get("PYTHONHASHSEED") == "1")
    there = call_in_a_process(__name__, "digests", subject.plugin.address, settings, hash_seed=seed)
    changed = [split for split in SPLITS if here[split] != there[split]]
    require(
        not changed,
        f"in another process, whose PYTHONHASHSEED is {seed}, {_listed(changed)} has other examples: do not iterate "
        "over sets of strings, and derive no seed from hash()",
    )


def digests(address: str, settings: str) -> dict[str, str]:
    """Digests of the examples of each split, for another process to compare."""
    subject = TaskSubject(task_of(address, json.loads(settings)))
    return {str(split): text for split, text in subject.contents(subject.task()).items()}


def digest_rows(table: Dataset) -> object:
    """What there is in a table to be compared, and nothing of its format."""
    return table.data.to_pydict()


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))
