"""What a task knows of right and wrong: a judge that agrees with the references, and errors that are single tokens."""

from __future__ import annotations

from collections.abc import Iterator

from harness.testing.battery import require, skip
from harness.testing.task.battery import TASK
from harness.testing.task.subject import TaskSubject
from tasks.base import Judge

SAMPLE = 100
"""Test examples that are tried, from the first on."""
GARBAGE = (
    "",
    " ",
    "\n\n",
    "\x00",
    "é",
    "漢字",
    "🙂",
    "a" * 5000,
    "(((",
    "-",
    "0",
    "\ufffd",
)


@TASK.check()
def error_tokens_are_single_tokens(subject: TaskSubject) -> None:
    """Plausible errors are different strings, each one token that is not special."""
    errors = subject.prepared.task.error_tokens
    if isinstance(errors, tuple) and not errors:
        skip("the task names no errors")
    require(isinstance(errors, tuple), f"error_tokens is a {type(errors).__name__}: return a tuple of strings")
    wrong = [error for error in errors if not isinstance(error, str) or not error]
    require(not wrong, f"error_tokens has {wrong[:3]} in it: name non-empty strings")
    require(len(set(errors)) == len(errors), f"error_tokens names some twice: {errors}")
    long = {error: len(ids) for error, ids in zip(errors, subject.encode(errors), strict=True) if len(ids) != 1}
    require(not long, f"not each of the error_tokens is one token, these are as many: {long}; name single characters")


@TASK.check()
def the_judge_accepts_references(subject: TaskSubject) -> None:
    """Every reference that has ended is right."""
    judge = _judge(subject)
    wrong = [reference for reference in _references(subject) if not judge(reference, reference, True)]
    require(not wrong, f"the judge calls {len(wrong)} references wrong, for example {wrong[:1]}")


@TASK.check()
def the_judge_accepts_beginnings_of_references(subject: TaskSubject) -> None:
    """A beginning of a reference that has not ended can still become right."""
    judge = _judge(subject)
    for reference in _references(subject):
        (ids,) = subject.encode([reference])
        for length in range(len(ids) + 1):
            start = subject.tokenizer.decode(ids[:length])
            if reference.startswith(start):
                require(
                    judge(start, reference, False),
                    f"judge({start!r}, {reference!r}, ended=False) is False, and the text can still become right: a "
                    "token that is right would count as an error",
                )


@TASK.check()
def the_judge_rejects_wrong_completions(subject: TaskSubject) -> None:
    """Some completions that differ from their reference are wrong, at their end and on the way."""
    judge, references = _judge(subject), _references(subject)
    changed = [(other, reference) for reference in references for other in _changed(reference)]
    for ended in (True, False):
        require(
            any(not judge(other, reference, ended) for other, reference in changed),
            f"with ended={ended} the judge accepts all of {len(changed)} changed references, for example "
            f"{changed[:1]}: return None from judge() if the truth is not known",
        )


@TASK.check()
def what_is_right_could_become_right(subject: TaskSubject) -> None:
    """A completion that is right now that it has ended could still become right before."""
    judge = _judge(subject)
    for reference in _references(subject):
        for text in (reference, *_changed(reference)):
            require(
                judge(text, reference, False) or not judge(text, reference, True),
                f"judge({text!r}, {reference!r}, ended) is True for ended=True and False for ended=False, but it needs "
                "only to end to be right",
            )


@TASK.check()
def the_judge_takes_any_text(subject: TaskSubject) -> None:
    """The judge says True or False of whatever a policy may write, and raises nothing."""
    judge = _judge(subject)
    for reference in _references(subject)[:10]:
        for text in (*GARBAGE, *_changed(reference)):
            for ended in (True, False):
                try:
                    verdict = judge(text, reference, ended)
                except Exception as error:
                    problem = f"raises {type(error).__name__}: {error}"
                else:
                    problem = "" if isinstance(verdict, bool) else f"is {verdict!r}"
                require(not problem, f"judge({text[:40]!r}, {reference!r}, {ended}) {problem}; return True or False")


@TASK.check()
def the_judge_does_not_change_its_mind(subject: TaskSubject) -> None:
    """Verdicts are the same every time, of one judge and of another one of the same task."""
    first, other = _judge(subject), subject.small().judge()
    assert other is not None
    cases = [
        (text, reference, ended)
        for reference in _references(subject)[:20]
        for text in (reference, *_changed(reference))
        for ended in (True, False)
    ]
    verdicts = [first(*case) for case in cases]
    for whose, judge in (("the second time", first), ("of another judge", other)):
        changed = [case for case, verdict in zip(cases, verdicts, strict=True) if judge(*case) != verdict]
        require(not changed, f"the verdict {whose} is another for {changed[:1]}: judge by the arguments alone")


def _judge(subject: TaskSubject) -> Judge:
    judge = subject.prepared.task.judge()
    if judge is None:
        skip("the truth is not known: judge() returns None")
    return judge


def _references(subject: TaskSubject) -> list[str]:
    return list(subject.rows("test").completions[:SAMPLE])


def _changed(reference: str) -> Iterator[str]:
    """Other texts than the reference, near it and far from it."""
    texts = [reference[1:], reference[::-1], reference + reference, "~" + reference, reference + "~", "~", "0", "a"]
    return (text for text in dict.fromkeys(texts) if text != reference)
