"""What the test compares: the results of a baseline, and of a candidate that is trained now."""

from __future__ import annotations

from pathlib import Path

import pytest

import harness

STUDY = Path(__file__).with_name("study.toml")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--baseline``, and ``--set`` as ``seqmatch run`` has it."""
    parser.addoption("--baseline", type=Path, help="results of the baseline; trained now if not given")
    parser.addoption("--set", action="append", default=[], metavar="KEY=VALUE", help="change the candidate's study")


@pytest.fixture(scope="session")
def baseline(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """Results of the study as it is."""
    given: Path | None = pytestconfig.getoption("--baseline")
    if given:
        return given
    out = tmp_path_factory.mktemp("baseline")
    harness.run(STUDY, out)
    return out


@pytest.fixture(scope="session")
def candidate(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """Results of the study with today's code, and with the changes of the command line."""
    out = tmp_path_factory.mktemp("candidate")
    harness.run(STUDY, out, overrides=pytestconfig.getoption("--set"))
    return out
