"""Two real processes train as one does: the same losses, the same weights, each with a part of every batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from launched import STEPS

pytestmark = pytest.mark.long
SCRIPT = Path(__file__).with_name("launched.py")
EXACT = ["mle", "behavioral_cloning", "sequence_match_backspace", "head", "adapters", "accumulation"]
Runs = dict[str, Any]


def launched(out: Path, processes: int) -> list[Runs]:
    """What each process of a launch wrote down."""
    torchrun = ["torch.distributed.run", "--nnodes=1", f"--nproc-per-node={processes}"]
    endpoint = ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"]
    on_cpu = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    on_cpu["ACCELERATE_USE_CPU"] = "true"  # else accelerate sees one process here, and all of them on GPUs alone
    run = subprocess.run(
        [sys.executable, "-m", *torchrun, *endpoint, str(SCRIPT), str(out)],
        env={**os.environ, **on_cpu},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    found = [json.loads(path.read_text()) for path in sorted(out.iterdir())]
    assert [each["size"] for each in found] == [processes] * processes
    return found


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> list[Runs]:
    return launched(tmp_path_factory.mktemp("two"), 2)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    runs: Runs = launched(tmp_path_factory.mktemp("one"), 1)[0]["runs"]
    return runs


@pytest.mark.parametrize("name", EXACT)
def test_two_processes_have_the_losses_of_one(name: str, launch: list[Runs], alone: Runs) -> None:
    rows = alone[name]["rows"]
    assert len(rows) == STEPS
    for column in rows[0].keys() - {"seconds"}:
        tolerance = 2e-3 if column == "grad_norm" else 1e-4  # where the loss is steep, its slope feels rounding more
        for found in launch:
            seen = [row[column] for row in found["runs"][name]["rows"]]
            assert seen == pytest.approx([row[column] for row in rows], rel=tolerance, abs=tolerance), column
    first, second = (found["runs"][name]["weights"] for found in launch)
    assert first == second, "the processes hold the same bits"
    assert first == pytest.approx(alone[name]["weights"], abs=1e-3)


def test_a_gradient_that_one_process_lacks_is_summed_and_one_that_all_lack_stays_absent(launch: list[Runs]) -> None:
    assert [found["summed"] for found in launch] == [[3.0, 5.0, None]] * 2


def test_counts_and_sums_are_added_up_and_a_process_may_lack_some(launch: list[Runs]) -> None:
    assert [found["total"] for found in launch] == [[3, {"all": 3.0, "last": 5.0}]] * 2


def test_every_process_has_random_numbers_of_its_own_and_the_first_those_of_one(
    launch: list[Runs], alone: Runs
) -> None:
    first, second = (found["runs"]["states"]["states"] for found in launch)
    assert not set(first) & set(second)
    assert len(set(second)) == STEPS
    assert first == alone["states"]["states"]


def test_the_clock_of_the_first_process_ends_training(launch: list[Runs]) -> None:
    assert [len(found["runs"]["others late"]["rows"]) for found in launch] == [STEPS, STEPS]
    assert [len(found["runs"]["first late"]["rows"]) for found in launch] == [0, 0]


def test_dropout_differs_between_processes_and_their_weights_do_not(launch: list[Runs], alone: Runs) -> None:
    first, second = (found["runs"]["dropout"] for found in launch)
    assert first["weights"] == second["weights"]
    assert first["rows"][0]["loss"] == second["rows"][0]["loss"]
    losses = [[row["loss"] for row in each["rows"]] for each in (first, alone["dropout"])]
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


def test_a_launch_goes_on_from_a_snapshot_to_the_same_bits(launch: list[Runs], alone: Runs) -> None:
    for runs in (alone, *(found["runs"] for found in launch)):
        whole, resumed = runs["dropout"], runs["dropout resumed"]
        assert len(resumed["rows"]) == STEPS - 10
        assert resumed["weights"] == whole["weights"]


def test_a_batch_that_is_too_small_and_processes_that_differ_are_refused(launch: list[Runs]) -> None:
    for found in launch:
        refusals = found["refusals"]
        small = "TrainerError: a batch of 1 cannot be split into 1 micro-batches for each of 2 proc"
        assert refusals["small batch"].startswith(small)
        for name in ("other weights", "other steps"):
            assert refusals[name].startswith("TrainerError: the processes do not start from the same state"), name


def test_a_loss_of_one_process_that_is_not_finite_is_an_error_in_all(launch: list[Runs]) -> None:
    for found in launch:
        assert found["refusals"]["loss of one"] == "TrainerError: the loss is nan at step 0: lower the learning rate"
