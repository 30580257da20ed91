"""The split that policies are judged on: while settings are being chosen, no test example is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from small_studies import small_study
from toys import Letters

import harness
from harness.errors import StudyError
from harness.expansion import plan
from harness.measuring import omission
from harness.preparation import prepare
from harness.store import Store
from metrics.mauve import Mauve
from tasks.base import Split, Tokenizer

SEALED = """
from toys import Letters


class Sealed(Letters):
    def examples(self, split, tokenizer):
        if split == "test":
            raise ValueError("the test examples were asked for")
        return super().examples(split, tokenizer)
"""


def prompts(split: Split) -> list[str]:
    return list(Letters().examples(split, cast("Tokenizer", None))["prompt"])


def test_policies_are_judged_on_validation_and_test_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "sealed.py").write_text(SEALED)
    sealed = {"letters": {"use": f"{tmp_path / 'sealed.py'}:Sealed"}}
    study = small_study(seeds=1, trainers={"pretrained": {}}, tasks=sealed, split="validation")
    harness.run(study, tmp_path / "out")
    wrote = Store(tmp_path / "out").generations(plan(study).trials[0])
    assert list(wrote["prompt"]) == prompts("validation") != prompts("test")
    with pytest.raises(StudyError, match="the test examples were asked for"):
        harness.run(replace(study, split="test"), tmp_path / "other")


def test_nothing_is_left_that_could_be_a_ceiling() -> None:
    prepared = prepare(plan(small_study(split="validation")).trials[0])
    assert len(prepared.real) == 0
    assert "judged on the validation examples" in (omission(prepared, Mauve()) or "")
    assert list(prepare(plan(small_study()).trials[0]).real["prompt"]) == prompts("validation")


def test_trials_of_another_split_are_other_trials() -> None:
    test, validation = (plan(small_study(split=split)).trials[0] for split in ("test", "validation"))
    assert test.identity != validation.identity


def test_another_split_is_refused() -> None:
    with pytest.raises(StudyError, match="split"):
        plan(small_study(split="train"))
