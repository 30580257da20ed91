from __future__ import annotations

import random
import re
import time

import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare

from tasks.arithmetic import Arithmetic
from tasks.base import TaskError
from tasks.mathematics import Generator, _load

QUESTION = re.compile(r"In base (\d+), what is (\S+) ([+-]) (\S+)\?\n")
DIGITS = "0123456789abcdef"


def parse(prompt: str) -> tuple[int, str, str, str]:
    base, p, operator, q = QUESTION.fullmatch(prompt).groups()
    return int(base), p, operator, q


def in_base(value: int, base: int) -> str:
    digits = ""
    rest = abs(value)
    while rest or not digits:
        rest, digit = divmod(rest, base)
        digits = DIGITS[digit] + digits
    return "-" * (value < 0) + digits


@pytest.fixture(scope="module")
def task() -> Arithmetic:
    return Arithmetic(train=2000)


def test_answers_are_right(task):
    examples = task.examples("train", None)
    assert len(examples) == 2000
    for prompt, completion, finished in zip(*(examples[c] for c in ("prompt", "completion", "finished")), strict=True):
        base, p, operator, q = parse(prompt)
        p, q = int(p, base), int(q, base)
        assert completion == in_base(p + q if operator == "+" else p - q, base)
        assert finished is True
    assert {parse(prompt)[0] for prompt in examples["prompt"]} == set(range(2, 17))


def test_no_question_occurs_twice_in_or_across_splits():
    # Base 2, two digits: so few questions that the generator repeats itself all the time.
    task = Arithmetic(train=60, validation=10, test=10, max_base=2, max_digits=3)
    prompts = [prompt for split in ("train", "validation", "test") for prompt in task.examples(split, None)["prompt"]]
    assert len(set(prompts)) == len(prompts) == 80


def test_equals_the_original_generator():
    module, _ = _load()
    sample = module.train(lambda entropy: entropy)["add_or_sub_in_base"]
    state = random.getstate()
    try:
        random.seed(11)
        original = [(str(s.question), str(s.answer)) for s in (sample() for _ in range(300))]
    finally:
        random.setstate(state)
    assert [tuple(problem) for problem in Generator(11).draw(300)] == original


def test_leaves_global_random_states_alone():
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first = Arithmetic(train=20, validation=5, test=5).examples("train", None)["prompt"][:]
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002
    random.seed(99)
    assert Arithmetic(train=20, validation=5, test=5).examples("train", None)["prompt"][:] == first
    assert Arithmetic(train=20, validation=5, test=5, seed=1).examples("train", None)["prompt"][:] != first


def test_test_questions_do_not_depend_on_the_size_of_training():
    small, large = (Arithmetic(train=train, validation=10, test=30) for train in (10, 400))
    assert small.examples("test", None)["prompt"][:] == large.examples("test", None)["prompt"][:]
    assert small.examples("train", None)["prompt"][:] == large.examples("train", None)["prompt"][:10]


@pytest.mark.parametrize(
    ("min_base", "max_base", "max_digits", "answer_tokens"),
    [(10, 10, 2, 24), (2, 5, 4, 24), (7, 16, 1, 3), (4, 16, None, 6)],
)
def test_restrictions_hold(min_base, max_base, max_digits, answer_tokens):
    task = Arithmetic(
        train=200, min_base=min_base, max_base=max_base, max_digits=max_digits, answer_tokens=answer_tokens
    )
    examples = task.examples("train", None)
    for prompt, completion in zip(examples["prompt"], examples["completion"], strict=True):
        base, p, _, q = parse(prompt)
        assert min_base <= base <= max_base
        assert max_digits is None or max(len(p.lstrip("-")), len(q.lstrip("-"))) <= max_digits
        assert len(completion) < answer_tokens == task.max_new_tokens
    assert {parse(prompt)[0] for prompt in examples["prompt"]} >= {min_base, max_base}


def test_a_narrow_range_of_bases_is_the_original_conditioned_on_it():
    original = [p for p in Generator(5).draw(9000) if p.question.startswith(("In base 3,", "In base 4,"))]
    narrow = Generator(6, 3, 4).draw(1200)
    lengths = [
        np.bincount([min(len(p.question), 46) // 4 for p in part], minlength=12)[6:] for part in (original, narrow)
    ]
    assert np.min(lengths) >= 5
    assert chi2_contingency(lengths).pvalue > 1e-3
    assert chisquare([sum(p.question.startswith(f"In base {b},") for p in narrow) for b in (3, 4)]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"max_base": 2, "max_digits": 1}, ("max_base=2", "max_digits=1", "only 18 exist", "train=5000")),
        ({"answer_tokens": 2, "max_base": 2}, ("answer_tokens=2", "hardly appear")),
        ({"max_base": 2, "max_digits": 4, "train": 1500}, ("max_digits=4", "hardly appear", "train=1500")),
    ],
)
def test_too_few_questions_end_in_an_error_at_once(settings, names):
    began = time.process_time()
    with pytest.raises(TaskError) as caught:
        next(Arithmetic(**settings).corpus())
    assert time.process_time() - began < 10
    assert all(name in str(caught.value) for name in names)


def test_corpus_is_the_training_text_only():
    task = Arithmetic(train=30, validation=5, test=5)
    examples = task.examples("train", None)
    assert list(task.corpus()) == [p + c for p, c in zip(examples["prompt"], examples["completion"], strict=True)]


def test_error_tokens_are_what_answers_are_made_of():
    task = Arithmetic(train=300, max_base=12)
    assert task.error_tokens == tuple("0123456789ab-")
    assert set("".join(task.examples("train", None)["completion"])) == set(task.error_tokens)


def test_tokenised_apart_and_together_alike(task, bpe):
    for example in task.examples("test", None):
        ids = bpe.encode(example["prompt"]) + bpe.encode(example["completion"])
        assert ids == bpe.encode(example["prompt"] + example["completion"])


def test_a_question_of_an_unknown_form_is_not_let_through(monkeypatch):
    generator = Generator(0)
    monkeypatch.setattr(generator, "_sample", lambda: type("Sample", (), {"question": "What is 1 + 1?", "answer": 2}))
    with pytest.raises(RuntimeError, match="unknown form"):
        generator.draw(1)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"train": 0}, "train"),
        ({"validation": -1}, "validation"),
        ({"test": 2.5}, "test"),
        ({"min_base": 1}, "min_base"),
        ({"max_base": 17}, "max_base"),
        ({"min_base": 9, "max_base": 8}, "min_base"),
        ({"max_digits": 0}, "max_digits"),
        ({"max_digits": True}, "max_digits"),
        ({"answer_tokens": 1}, "answer_tokens"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_settings_are_named(settings, field):
    with pytest.raises(TaskError, match=rf"^Arithmetic: {field} "):
        Arithmetic(**settings)


def test_unknown_split_is_named():
    with pytest.raises(TaskError, match="no split 'dev'"):
        Arithmetic(train=5, validation=5, test=5).examples("dev", None)


@pytest.mark.parametrize(
    ("completion", "right", "viable"),
    [
        ("", False, True),
        ("-", False, True),
        ("-1", False, True),
        ("-12", True, True),
        ("-12\n", True, True),
        (" -12 ", True, True),
        (" -1", False, True),
        ("-1 2", False, False),
        ("-1 ", False, False),
        ("12", False, False),
        ("-123", False, False),
        ("-2", False, False),
    ],
)
def test_an_answer_is_judged_before_it_is_finished(task, completion, right, viable):
    judge = task.judge()
    assert judge(completion, "-12", True) is right
    assert judge(completion, "-12", False) is viable


def test_every_beginning_of_every_answer_can_become_right(task):
    judge = task.judge()
    for answer in task.examples("test", None)["completion"]:
        assert all(judge(answer[:length], answer, False) for length in range(len(answer) + 1))
        assert not any(judge(answer[:length], answer, True) for length in range(len(answer)))
        assert judge(answer, answer, True)
