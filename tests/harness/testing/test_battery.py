import pytest

from harness.testing.battery import Battery, CheckError, CheckSkipped, Tier, require, skip
from harness.testing.report import Outcome, Report, Status
from harness.testing.running import run_check


@pytest.fixture
def battery() -> Battery[list[str]]:
    battery: Battery[list[str]] = Battery("trainer", {Tier.QUICK: 1, Tier.FULL: 2})

    @battery.check()
    def first(subject: list[str]) -> None:
        """It is empty.

        This is not part of the promise.
        """
        require(not subject, f"it holds {subject}")

    @battery.check(Tier.FULL)
    def second(subject: list[str]) -> None:
        """It is skipped."""
        skip("there is no second")

    return battery


def test_a_tier_has_the_checks_of_the_tiers_below_it_in_order(battery):
    assert [check.name for check in battery.checks(Tier.QUICK)] == ["first"]
    assert [check.name for check in battery.checks(Tier.FULL)] == ["first", "second"]


def test_the_promise_is_the_first_line_of_the_docstring(battery):
    assert battery.checks()[0].promise == "It is empty."


def test_two_checks_of_one_name_or_one_that_promises_nothing_are_errors(battery):
    def first(subject: list[str]) -> None:
        """Again."""

    def silent(subject: list[str]) -> None: ...

    for function in (first, silent):
        with pytest.raises(ValueError, match="is defined twice, or says nothing"):
            battery.check()(function)


def outcome_of(function) -> Outcome:
    battery: Battery[list[str]] = Battery("trainer", {})
    battery.check()(function)
    return run_check(battery.checks()[0], list)


def test_every_way_to_end_is_an_outcome():
    def holds(subject):
        """Promise."""

    def fails(subject):
        """Promise."""
        raise CheckError("seen")

    def raises(subject):
        """Promise."""
        raise KeyError("key")

    def leaves(subject):
        """Promise."""
        raise SystemExit(3)

    def is_skipped(subject):
        """Promise."""
        raise CheckSkipped("why")

    found = [outcome_of(function) for function in (holds, fails, raises, leaves, is_skipped)]
    assert [(each.status, each.reason) for each in found] == [
        (Status.PASSED, ""),
        (Status.FAILED, "seen"),
        (Status.FAILED, "raised KeyError: 'key'"),
        (Status.FAILED, "raised SystemExit: 3"),
        (Status.SKIPPED, "why"),
    ]
    assert {each.promise for each in found} == {"Promise."}


def test_an_interrupt_by_the_user_ends_the_checks():
    def interrupted(subject):
        """Promise."""
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outcome_of(interrupted)


def test_a_check_leaves_nothing_behind_in_the_process(tmp_path, monkeypatch):
    import os
    import random

    import numpy as np
    import torch

    monkeypatch.setenv("STAYS", "as it was")

    def untidy(subject):
        """Promise."""
        os.chdir(tmp_path)
        os.environ.update(STAYS="changed", NEW="here")
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.manual_seed(1)
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002

    def state() -> tuple[object, ...]:
        numbers = np.random.get_state()[1].tolist()  # noqa: NPY002
        threads = torch.get_num_threads()
        return os.getcwd(), dict(os.environ), threads, torch.get_rng_state().tolist(), random.getstate(), numbers

    before = state()
    assert outcome_of(untidy).status is Status.PASSED
    assert state() == before


def report(*statuses: Status, minimum: int = 1) -> Report:
    outcomes = tuple(Outcome(f"check_{i}", "It holds.", each, "", 0.0) for i, each in enumerate(statuses))
    return Report("trainer", "mine", "plug-in 1.0", {}, Tier.QUICK, minimum, outcomes)


@pytest.mark.parametrize(
    ("statuses", "minimum", "passed", "summary"),
    [
        ([Status.PASSED, Status.SKIPPED], 1, True, "conforms: 1 run, 1 passed, 0 failed, 1 skipped"),
        ([Status.PASSED, Status.FAILED], 1, False, "does not conform: 2 run, 1 passed, 1 failed, 0 skipped"),
        (
            [Status.PASSED, Status.SKIPPED],
            2,
            False,
            "does not conform: 1 run, 1 passed, 0 failed, 1 skipped; too few ran, tier quick asks for 2",
        ),
        ([], 1, False, "does not conform: 0 run, 0 passed, 0 failed, 0 skipped; too few ran, tier quick asks for 1"),
    ],
)
def test_a_plug_in_conforms_if_nothing_failed_and_enough_ran(statuses, minimum, passed, summary):
    found = report(*statuses, minimum=minimum)
    assert found.passed is passed
    assert found.summary == f"trainer 'mine' of plug-in 1.0 {summary}"


def test_the_json_of_a_report_holds_the_outcomes_the_counts_and_the_verdict():
    import json

    data = json.loads(json.dumps(report(Status.PASSED, Status.FAILED, Status.SKIPPED).to_json()))
    assert [each["status"] for each in data["outcomes"]] == ["passed", "failed", "skipped"]
    counts = {name: data[name] for name in ("ran", "passed", "failed", "skipped", "conforms")}
    assert counts == {"ran": 2, "passed": 1, "failed": 1, "skipped": 1, "conforms": False}
