"""docs/study.md is what docs/study_keys.py writes."""

from __future__ import annotations

import runpy

import pytest
from pages import ROOT

from harness.study import load_study


@pytest.fixture(scope="module")
def script() -> dict[str, object]:
    return runpy.run_path(str(ROOT / "docs" / "study_keys.py"))


def test_the_page_is_up_to_date(script):
    assert (ROOT / "docs" / "study.md").read_text() == script["page"](), "run make docs"


def test_every_table_of_a_study_has_a_section(script):
    study, _ = load_study("quick")
    headings = {title.strip("[]").partition(".")[0] for title in script["TABLES"]} | set(script["REGISTRIES"])
    tables = {name for name, value in vars(study).items() if not isinstance(value, str | int | bool | tuple | None)}
    assert tables <= headings
    assert len(tables) > 6
