"""A study on a Ray cluster whose nodes share no results folder: each has a mirror of its own of the URL."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from faults import Deadly
from ray.cluster_utils import Cluster
from small_studies import small_study, toy
from stateful import equal, stateful_study
from test_ray import ROOT, SMALL, STEP, kill_the_node_of, wait_to_be_killed

import harness
from harness.engine import run_trial
from harness.engines.ray import Ray
from harness.engines.remote import Place
from harness.errors import StoreError
from harness.expansion import plan
from harness.holding import hold
from harness.mirror import Mirror
from harness.store import Store

TOYS = Path(toy("").partition(":")[0])


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the caches of all nodes."""
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(scope="module")
def cluster(caches: Path) -> Iterator[Cluster]:
    """A head that runs no trials, and two nodes of one core with caches of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{TOYS.parent}")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args={**SMALL, "num_cpus": 0, "include_dashboard": False})
        for number in range(2):
            cluster.add_node(**SMALL, env_vars={"SEQMATCH_RESULTS_CACHE": str(caches / f"node{number}")})
        yield cluster
        cluster.shutdown()


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there" / "run"


def trials_in(caches: Path, there: Path) -> list[set[str]]:
    """The trials that each node has in its mirror of the URL."""
    name = Mirror(f"file://{there}").folder.name
    return [
        {path.parent.name for path in (caches / node / name).glob("trials/*/trial.json")} for node in ("node0", "node1")
    ]


@pytest.mark.long
def test_nodes_that_share_nothing_but_the_url_leave_the_table_of_one_process(cluster, caches, there, tmp_path):
    study = small_study(
        trainers={"pretrained": {}, "raises": {"use": toy("Shift"), "fault": "raise"}, "mle": {}}, seeds=2
    )
    results = harness.run(study, f"file://{there}", engine=Ray(cluster.address))
    alone = harness.run(study, tmp_path / "out")
    assert results.drop(columns="seconds").equals(alone.drop(columns="seconds"))
    assert set(results["status"]) == {"finished", "failed"}
    first, second = trials_in(caches, there)
    assert first.isdisjoint(second)
    assert first | second == {trial.label for trial in plan(study).trials}


@pytest.mark.long
def test_a_trial_whose_node_is_killed_goes_on_elsewhere_from_the_checkpoint_at_the_url(
    cluster, caches, llama, whole, there, marks, capsys
):
    study = stateful_study(llama)
    engine = Deadly(Ray(cluster.address), "sequence_match_backspace", [(STEP, 5, "after")], marks, wait_to_be_killed)
    killer = threading.Thread(target=kill_the_node_of, args=(marks / "0", cluster), daemon=True)
    killer.start()
    beyond_what_is_left = (STEP, 4, "after")
    engine = replace(engine, deaths=[*engine.deaths, beyond_what_is_left])
    harness.run(study, f"file://{there}", engine=engine)
    killer.join(timeout=60)
    assert len(cluster.list_all_nodes()) == 2
    assert capsys.readouterr().err.count("trying again") == 1
    equal(there, whole, study)


@pytest.fixture
def place(there: Path) -> Place:
    """The place of a run that has begun, by its URL."""
    store, planned = Store.at(f"file://{there}"), plan(small_study(seeds=1))
    with hold(store, planned):
        return Place.here(store.out)


def test_a_worker_has_a_mirror_of_its_own_and_the_run_fetches_what_it_did(place, there, tmp_path, monkeypatch):
    trial = plan(small_study(seeds=1)).trials[1]
    with pytest.raises(StoreError, match=r"file://.* was written on another node and is not there"):
        place.wait_for(trial)
    with monkeypatch.context() as patch:
        patch.setenv("SEQMATCH_RESULTS_CACHE", str(tmp_path / "node"))
        place.run(trial, run_trial, lambda _: None)
    assert list(tmp_path.glob(f"node/*/trials/{trial.label}/trial.json"))
    assert not (place.out / "trials" / trial.label).exists()
    place.wait_for(trial)
    assert Store(place.out).is_finished(trial)


def test_a_worker_that_finds_no_study_at_the_url_says_so_and_runs_nothing(place, there, tmp_path):
    (there / "study.json").unlink()
    with pytest.raises(StoreError, match=rf"^[^ ]+: file://{there} is no results folder"):
        place.run(plan(small_study(seeds=1)).trials[1], lambda *_: pytest.fail("the trial was run"), lambda _: None)


def test_what_a_node_could_not_write_to_the_url_is_written_by_the_next_run_there(place, there):
    trial = plan(small_study(seeds=1)).trials[1]

    def run_and_break(*given):
        (there / "trials").touch()
        run_trial(*given)

    with pytest.raises(StoreError, match="cannot write"):
        place.run(trial, run_and_break, lambda _: None)
    (there / "trials").unlink()
    place.run(trial, lambda *_: pytest.fail("the trial was run"), lambda _: None)
    assert Store(there).is_finished(trial)
