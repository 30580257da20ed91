import pytest
from pages import ROOT, run_python, tables

from harness.testing.battery import Tier
from harness.testing.subjects import kind_of

PAGE = ROOT / "docs" / "checks.md"


def test_the_code_runs_and_prints_what_the_page_shows():
    assert run_python(PAGE) == 2


@pytest.mark.parametrize(("kind", "index"), [("trainer", 1), ("task", 2), ("metric", 3)])
def test_the_page_lists_every_check_and_how_many_must_run(kind, index):
    battery = kind_of(kind).battery
    rows = [[f"`{check.name}`", str(check.tier), check.promise] for check in battery.checks()]
    assert tables(PAGE.read_text())[index][1:] == rows
    least = f"At least {battery.minimum[Tier.QUICK]} must run in tier quick, {battery.minimum[Tier.FULL]} in tier full."
    assert f"## Of a {kind}\n\n{least}" in PAGE.read_text()


def test_every_trainer_of_the_table_has_all_quick_checks():
    count = len(kind_of("trainer").battery.checks(Tier.QUICK))
    rows = tables(PAGE.read_text())[0][1:]
    assert len(rows) == 8
    for _, run, passed, failed, skipped, _ in rows:
        assert int(run) + int(skipped) == int(passed) + int(failed) + int(skipped) == count
