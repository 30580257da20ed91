"""Publications: a run without its bulk, read like a run by whatever reads tables."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from small_studies import small_study, toy

import harness
from harness.errors import RequestError, StoreError
from harness.gate import gate
from harness.leaderboard.reading import read_tables
from harness.publishing import publish
from harness.remeasuring import remeasure
from harness.store import Store
from harness.verdicts import judge


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, Path]:
    run, to = tmp_path / "run", tmp_path / "to" / "reference"
    harness.run(small_study(seeds=3), run)
    publish(run, to)
    return run, to


def test_it_holds_the_tables_the_study_the_provenance_and_the_page(published: tuple[Path, Path]) -> None:
    run, to = published
    names = ["evaluations.parquet", "leaderboard.html", "leaderboard.md", "provenance.json"]
    names += ["results.csv.gz", "results.parquet", "study.json", "verdicts.csv"]
    assert [path.name for path in sorted(to.iterdir())] == names
    provenance = json.loads((to / "provenance.json").read_text())
    assert list(provenance) == [entry["label"] for entry in Store(run).study()["trials"]]
    for record in provenance.values():
        assert record["status"] == "finished"
        assert record["machine"]["processor"]
        assert {"source", "git", "seeds", "timings"} <= set(record)


def test_it_is_read_like_the_run(published: tuple[Path, Path]) -> None:
    run, to = published
    pd.testing.assert_frame_equal(harness.load_results(to), harness.load_results(run))
    pd.testing.assert_frame_equal(Store(to).evaluations(), Store(run).evaluations())
    pd.testing.assert_frame_equal(pd.read_csv(to / "results.csv.gz"), pd.read_csv(run / "results.csv"))
    assert Store(to).timings() == Store(run).timings()
    pd.testing.assert_frame_equal(judge(to).comparison, judge(run).comparison)
    verdicts = read_tables(Store(run)).verdicts
    assert verdicts is not None
    assert len(pd.read_csv(to / "verdicts.csv")) == len(verdicts)
    report = gate(run, to, {"accuracy": 0.5})
    assert report.exit_code == 0
    assert not report.changes


def test_an_older_publication_is_replaced(published: tuple[Path, Path], tmp_path: Path) -> None:
    _, to = published
    harness.run(small_study(seeds=2), tmp_path / "smaller")
    publish(tmp_path / "smaller", to)
    assert set(harness.load_results(to)["seed"]) == {0, 1}
    harness.run(small_study(seeds=1, trainers={"pretrained": {}}), tmp_path / "alone")
    publish(tmp_path / "alone", to)
    assert not (to / "verdicts.csv").exists()


def test_a_publication_that_breaks_off_leaves_the_older_one(
    published: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, to = published
    before = {path.name: path.read_bytes() for path in to.iterdir()}
    harness.run(small_study(seeds=2), tmp_path / "smaller")

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(StoreError, match="No space left"):
        publish(tmp_path / "smaller", to)
    assert {path.name: path.read_bytes() for path in to.iterdir()} == before
    assert [path.name for path in to.parent.iterdir()] == [to.name]


def test_what_was_run_is_what_the_study_specifies(published: tuple[Path, Path], tmp_path: Path) -> None:
    run, _ = published
    study = run / "study.json"
    study.write_text(study.read_text().replace('"learning_rate": ', '"learning_rate": 9'))
    with pytest.raises(StoreError, match="another version of seqmatch"):
        publish(run, tmp_path / "again")
    harness.run(small_study(seeds=3), run)
    record = next((run / "trials").glob("*/trial.json"))
    record.write_text(record.read_text().replace('"identity": "', '"identity": "0'))
    with pytest.raises(StoreError, match=r"is not that of its study\.json"):
        publish(run, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("tasks", [(), ("letters",)])
def test_what_was_measured_again_is_published_where_it_is_of_these_trials(
    tmp_path: Path, tasks: tuple[str, ...]
) -> None:
    run, to = tmp_path / "run", tmp_path / "to"
    both = {name: {"use": toy("Letters")} for name in ("letters", "others")}
    harness.run(small_study(seeds=2, tasks=both), run)
    measured = remeasure(run, "diversity", tasks=tasks)
    publish(run, to)
    pd.testing.assert_frame_equal(pd.read_parquet(to / measured.path.name), measured.table, check_dtype=False)
    harness.run(small_study(seeds=3, tasks=both), run)
    with pytest.raises(StoreError, match=r"measured-diversity.parquet is not of the trials of this run"):
        publish(run, to)
    assert len(harness.load_results(to)["seed"].unique()) == 2


def test_what_a_publication_lacks_is_said(published: tuple[Path, Path], tmp_path: Path) -> None:
    _, to = published
    trial = Store(to).specified()[0]
    for reading in (lambda: publish(to, tmp_path / "again"), lambda: Store(to).generations(trial)):
        with pytest.raises(StoreError, match="is a publication, without the trials themselves"):
            reading()


def test_what_is_not_finished_is_not_published(tmp_path: Path) -> None:
    trainers = {"pretrained": {}, "broken": {"use": toy("Shift"), "fault": "raise"}}
    harness.run(small_study(seeds=1, trainers=trainers), tmp_path / "run")
    with pytest.raises(StoreError, match=r"broken-letters-s0-.* is not finished"):
        publish(tmp_path / "run", tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_runs_and_publications_are_kept_apart(published: tuple[Path, Path], tmp_path: Path) -> None:
    run, to = published
    for taken in (run, run / "trials"):
        with pytest.raises(StoreError, match="is a run or holds something else: publish to another folder"):
            publish(run, taken)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="holds something else"):
        publish(run, tmp_path / "file")
    for url in ("s3://bucket/publication", "file:///publication"):
        with pytest.raises(RequestError, match="publish to a folder"):
            publish(run, url)
    with pytest.raises(StoreError, match="is a publication"):
        harness.run(small_study(), to)


@pytest.mark.parametrize("name", ["results.parquet", "provenance.json"])
def test_a_damaged_file_is_named(published: tuple[Path, Path], name: str) -> None:
    _, to = published
    (to / name).write_bytes((to / name).read_bytes()[:40])
    with pytest.raises(StoreError, match=f"{name} cannot be read"):
        _ = Store(to).results(), Store(to).timings()
