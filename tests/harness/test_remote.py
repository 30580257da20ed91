"""A worker on another machine makes sure that it is where the run is, before it runs a trial."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_studies import small_study

from harness.engine import run_trial
from harness.engines.remote import Place
from harness.errors import StoreError, StudyError
from harness.expansion import plan
from harness.holding import hold
from harness.store import Store


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The results folder of a run that has begun."""
    planned = plan(small_study(seeds=1))
    store = Store(tmp_path / "out")
    with hold(store, planned):
        return store.out


def the_trial():
    return plan(small_study(seeds=1)).trials[1]


def test_a_worker_writes_what_a_run_writes_and_starts_in_the_folder_of_the_run(out, tmp_path, monkeypatch):
    trial, place = the_trial(), Place.here(out)
    events = []
    monkeypatch.chdir(tmp_path)
    place.run(trial, lambda *given: (events.append(Path.cwd()), run_trial(*given)), events.append)
    assert events[0] == place.folder
    assert events[-1].phase == "finished"
    assert Path.cwd() == tmp_path
    assert Store(out).is_finished(trial)


def fails(place: Place, trial=None) -> str:
    with pytest.raises((StoreError, StudyError)) as caught:
        place.run(trial or the_trial(), lambda *_: pytest.fail("the trial was run"), lambda _: None)
    return str(caught.value)


def test_a_worker_that_does_not_see_the_folders_says_so_and_runs_nothing(out, tmp_path):
    elsewhere, gone = tmp_path / "elsewhere", tmp_path / "gone"
    elsewhere.mkdir()
    place = Place.here(out)
    assert f"does not see {elsewhere}: --out must be a folder that all nodes share" in fails(
        replace(place, out=elsewhere)
    )
    assert f"does not see {gone}: start the run in a folder that all nodes share" in fails(replace(place, folder=gone))


def test_a_worker_with_other_code_says_so_and_runs_nothing(out, tmp_path):
    place, trial = Place.here(out), the_trial()
    same = "another version of seqmatch or of its libraries: install the same there"
    assert same in fails(replace(place, source="other"))
    assert same in fails(place, replace(trial, versions={**trial.versions, "torch": "0.1"}))
    other = replace(trial, trainer=replace(trial.trainer, version="0123456789ab"))
    assert "of local file" in fails(place, other)
    assert fails(place, other).endswith(", and the run has 0123456789ab")
    gone = replace(trial, trainer=replace(trial.trainer, use=f"{tmp_path}/gone.py:Shift"))
    assert f"there is no file {tmp_path}/gone.py" in fails(place, gone)


def test_what_another_node_wrote_is_waited_for_and_then_missed(out):
    place, trial, pauses = Place.here(out), the_trial(), []
    with pytest.raises(StoreError, match=r"was written on another node: --out must be a folder that all nodes share"):
        place.wait_for(trial, looks=3, pause=lambda: pauses.append(1))
    assert len(pauses) == 3
    place.wait_for(trial, looks=2, pause=lambda: place.run(trial, run_trial, lambda _: None))
