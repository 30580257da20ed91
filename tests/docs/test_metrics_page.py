import pytest
from pages import ROOT, run_python, tables

from harness import declarations
from harness.registry import METRICS

PAGE = ROOT / "docs" / "metrics.md"


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text()


def table(page, *heading):
    (found,) = [rows for rows in tables(page) if rows[0] == list(heading)]
    return found[1:]


def test_the_code_runs_and_prints_what_the_page_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run_python(PAGE) == 7


def test_the_numbers_are_those_that_the_metrics_declare(page):
    assert declarations.numbers() in page, f"paste what `seqmatch list metrics --numbers` prints into {PAGE}"


def test_the_known_answers_are_those_of_the_metrics(page):
    rows = table(page, "metric", "case", "expected", "why")
    answers = {
        (entry.name, answer.case): answer
        for entry in METRICS.entries()
        for answer in METRICS.load(entry.name).known_answers()
    }
    for metric, case, expected, _ in rows:
        assert float(expected) == pytest.approx(answers[metric, case].expected, rel=1e-8)
    assert {row[0] for row in rows} == {entry.name for entry in METRICS.entries()}


def test_every_number_is_explained(page):
    """In words, outside the table of declarations; ``rep_2`` as ``rep_n``."""
    prose = page.replace(declarations.numbers(), "")
    for entry in METRICS.entries():
        for name in METRICS.load(entry.name).values:
            general = [name, name.rstrip("0123456789") + "n", name.rstrip("0123456789") + "t"]
            assert any(f"`{each}`" in prose for each in general), name


def test_minimum_and_settings_that_the_page_states(page):
    from metrics.clustering import EXPLAINED_VARIANCE
    from metrics.diversity import ZIPF_RANKS
    from metrics.histograms import GRID
    from metrics.kmeans import RESTARTS
    from metrics.mauve import Mauve

    assert (EXPLAINED_VARIANCE, len(GRID), RESTARTS, Mauve().scaling, Mauve().clusterings) == (0.9, 25, 5, 5, 5)
    for words in (
        "up to 90 % of the variance",
        "for 25 weights w",
        "the best of 5 starts",
        "exp(-5 KL",
        "over 5 clusterings",
    ):
        assert words in page
    assert f"{ZIPF_RANKS:,} ranks" in page
