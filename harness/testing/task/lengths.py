"""Lengths in tokens: what a task asks for can be written within the bounds that it names."""

from __future__ import annotations

from harness.testing.battery import require, skip
from harness.testing.task.battery import TASK
from harness.testing.task.subject import CONTEXT, TaskSubject
from tasks.settings import SPLITS


@TASK.check()
def max_new_tokens_is_a_number_of_tokens(subject: TaskSubject) -> None:
    """The bound on visible tokens is a whole number of at least 1, the same whenever it is asked for."""
    task = subject.small()
    before = task.max_new_tokens
    require(type(before) is int and before >= 1, f"max_new_tokens is {before!r}: return a whole number of at least 1")
    task.examples("train", subject.tokenizer)
    after = task.max_new_tokens
    require(
        before == after,
        f"max_new_tokens is {before} before the examples are made and {after} after: it must follow from the settings",
    )


@TASK.check()
def completions_fit_the_bound(subject: TaskSubject) -> None:
    """Every completion can be written, and ended where it is finished, within max_new_tokens."""
    bound = subject.prepared.task.max_new_tokens
    for split in SPLITS:
        rows = subject.sample(split)
        lengths = map(len, subject.encoded(split, "completion"))
        needed = [length + finished for length, finished in zip(lengths, rows.finished, strict=True)]
        long = [place for place, length in enumerate(needed) if length > bound]
        require(
            not long,
            f"{len(long)} of {len(needed)} completions of {split} take up to {max(needed, default=0)} tokens, the end "
            f"included where they are finished, and max_new_tokens is {bound}: no policy could write them, for example "
            f"{[rows.completions[place] for place in long[:1]]}",
        )


@TASK.check()
def prompts_fit_a_context(subject: TaskSubject) -> None:
    """A prompt, the start token and max_new_tokens fit into the context of a small model."""
    bound = subject.prepared.task.max_new_tokens
    for split in SPLITS:
        longest = max(map(len, subject.encoded(split, "prompt")), default=0)
        require(
            1 + longest + bound <= CONTEXT,
            f"a prompt of {split} has {longest} tokens, and with {bound} new ones and the start token it does not fit "
            f"into {CONTEXT}, the context of small models: shorten the prompts, or the completions",
        )


@TASK.check()
def fixed_lengths_are_those_of_the_examples(subject: TaskSubject) -> None:
    """Where the settings fix how many training examples there are and how long they are, the examples are so."""
    fixed = subject.prepared.task.fixed_lengths
    if fixed is None:
        skip("fixed_lengths is None: the lengths are those of the data")
    count = len(subject.prepared.tables["train"])
    require(count == fixed.examples, f"there are {count} training examples, and fixed_lengths says {fixed.examples}")
    ends = subject.sample("train").finished
    prompts = set(map(len, subject.encoded("train", "prompt")))
    completions = {len(ids) + end for ids, end in zip(subject.encoded("train", "completion"), ends, strict=True)}
    for name, found, size in (("prompt", prompts, fixed.prompt), ("completion", completions, fixed.completion)):
        require(found == {size}, f"a {name} takes {sorted(found)[:5]} tokens, and fixed_lengths says {size}")
