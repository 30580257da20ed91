"""Results folders in a bucket, as a user has them: s3fs from pip, and a server that speaks S3."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from environments import Environment, environment
from pyarrow import fs
from small_studies import TOYS, small_tables, to_toml, toy
from stateful import equal, stateful_changes, stateful_study

import harness
from harness.expansion import plan

pytestmark = pytest.mark.long

DIE = """
import sys
import faults, harness
faults._arm(sys.argv[3], int(sys.argv[4]), sys.argv[5])
harness.run(sys.argv[1], sys.argv[2])
"""
STEP = "torch.optim:AdamW.step"
PUT = "harness.remote_files:RemoteFiles.put"


@dataclass
class Bucket:
    """A bucket, looked at with Arrow's client of S3, and machines that have an environment with s3fs."""

    installed: Environment
    port: int
    folder: Path
    url: str = "s3://bucket/results/run"

    def __post_init__(self) -> None:
        self.arrow = fs.S3FileSystem(
            access_key="key",
            secret_key="secret",
            endpoint_override=f"127.0.0.1:{self.port}",
            scheme="http",
            allow_bucket_creation=True,
        )

    def harness(self, machine: str, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command on a machine; ``-c`` instead of a command runs code."""
        given = ("-m", "harness", *arguments) if arguments[0] != "-c" else arguments
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
        own = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "SEQMATCH_RESULTS_CACHE": str(self.folder / machine),
        }
        path = os.pathsep.join([str(TOYS.parents[2]), str(TOYS.parent)])
        return self.installed.python(
            *given, cwd=self.folder, variables={**keys, **own, "PYTHONPATH": path, **variables}
        )

    def files(self) -> dict[str, fs.FileInfo]:
        """What is below the URL."""
        root = self.url.removeprefix("s3://")
        selector = fs.FileSelector(root, recursive=True, allow_not_found=True)
        found = self.arrow.get_file_info(selector)
        return {info.path.removeprefix(f"{root}/"): info for info in found if info.is_file}

    def copy(self, to: Path) -> Path:
        """All that is below the URL, in a folder."""
        for name, info in self.files().items():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            with self.arrow.open_input_file(info.path) as file:
                (to / name).write_bytes(file.read())
        return to

    def write(self, name: str, content: bytes) -> None:
        with self.arrow.open_output_stream(f"{self.url.removeprefix('s3://')}/{name}") as file:
            file.write(content)


@pytest.fixture(scope="module")
def installed(pytestconfig: pytest.Config) -> Environment:
    # aiobotocore refuses the dateutil of the constraints.
    return environment(pytestconfig, "s3", "s3fs", "moto[server]", constrained=False)


@pytest.fixture(scope="module")
def server(installed: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server that speaks S3."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("moto") / "log"
    command = [installed.folder / "bin" / "python", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
    while True:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.1)
    yield port
    process.terminate()
    process.wait()


@pytest.fixture
def bucket(installed: Environment, server: int, tmp_path: Path) -> Iterator[Bucket]:
    made = Bucket(installed, server, tmp_path)
    made.arrow.create_dir("bucket")
    yield made
    made.arrow.delete_dir_contents("bucket")


def written(folder: Path, tables: dict[str, Any]) -> Path:
    path = folder / "study.toml"
    path.write_text(to_toml(tables))
    return path


def small(folder: Path) -> Path:
    tasks = {"letters": {"use": toy("Letters"), "metrics": {"accuracy": {}, "perplexity": {}}}}
    return written(
        folder, {**small_tables(), "tasks": tasks, "trainers": {"mle": {}, "pretrained": {}}, "save_policies": True}
    )


def test_a_run_into_a_bucket_is_a_run_in_a_folder_and_every_command_reads_it(bucket, tmp_path):
    study = small(tmp_path)
    done = bucket.harness("first", "run", study, "--out", bucket.url, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert f"Results are in {bucket.url}; as a page: seqmatch leaderboard {bucket.url}\n" in done.stdout
    alone = harness.run(study, tmp_path / "out")
    copy = bucket.copy(tmp_path / "copy")
    found = [harness.load_results(folder).drop(columns="seconds") for folder in (copy, tmp_path / "out")]
    pd.testing.assert_frame_equal(*found)
    assert len(alone) == len(found[0])
    again = bucket.harness("second", "run", study, "--out", bucket.url)
    assert "4 trials were finished before" in again.stderr
    for arguments in (
        ("leaderboard", bucket.url),
        ("compare", bucket.url),
        ("gate", bucket.url, "--baseline", f"{bucket.url}/results.parquet", "--margin", "accuracy=0.1"),
        ("measure", bucket.url, "--metric", "perplexity"),
    ):
        done = bucket.harness("third", *arguments)
        assert done.returncode == 0, done.stderr
    assert bucket.files().keys() >= {"leaderboard.html", "measured-perplexity.parquet", "results.csv"}


def test_a_study_that_is_killed_on_three_machines_ends_with_the_same_bits(bucket, llama, whole, tmp_path):
    study = written(tmp_path, {**small_tables(), **stateful_changes(llama)})
    deaths = [(STEP, 5, "after"), (PUT, 3, "before"), (PUT, 10, "after")]
    for machine, (function, call, moment) in enumerate(deaths):
        done = bucket.harness(f"m{machine}", "-c", DIE, str(study), bucket.url, function, str(call), moment)
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert any(name.startswith("checkpoints/") for name in bucket.files())
    done = bucket.harness("last", "run", study, "--out", bucket.url)
    assert done.returncode == 0, done.stderr
    equal(bucket.copy(tmp_path / "copy"), whole, stateful_study(llama))


def test_faults_of_the_bucket_are_one_line(bucket, tmp_path):
    study = small(tmp_path)
    done = bucket.harness("first", "run", study, "--out", "s3://none/run")
    (*_, line) = done.stderr.splitlines()
    assert done.returncode == 2
    assert line.startswith("error: cannot write s3://none/run/.writable (")
    assert "bucket does not exist" in line
    assert "training" not in done.stderr
    done = bucket.harness("first", "leaderboard", bucket.url, AWS_ENDPOINT_URL="http://127.0.0.1:1")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: cannot read {bucket.url}/study.json (EndpointConnectionError: Could not connect")
    assert line.endswith("check the URL, the network and your credentials")
    assert bucket.harness("first", "run", study, "--out", bucket.url).returncode == 0
    label = plan(str(study)).trials[0].label
    bucket.write(f"trials/{label}/generations.parquet", b"PAR1")
    done = bucket.harness("second", "leaderboard", bucket.url)
    assert done.returncode == 2
    trial = f"{bucket.url}/trials/{label}"
    assert done.stderr == (
        f"error: {trial}/generations.parquet cannot be read (it is damaged or was edited): "
        f"delete {trial} and run the study again\n"
    )
