"""The Ray cluster of a run: one that is there, or one on this machine that ends with the run."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from urllib.parse import urlsplit

from harness.errors import StudyError
from harness.threads import thread_variables
from harness.trial import Trial

PATIENCE = 10.0
"""Seconds in which the head of a cluster must answer."""


def check_reachable(address: str | None) -> None:
    """Check that Ray is installed and something listens at the address: Ray itself would try for many minutes.

    Raises:
        StudyError: naming what is missing.
    """
    if importlib.util.find_spec("ray") is None:
        raise StudyError("the engine ray needs Ray: pip install 'seqmatch[ray]'")
    if address in (None, "auto", "local"):
        return
    parts = urlsplit(address if "//" in address else f"//{address}")
    try:
        if not (parts.hostname and parts.port):
            raise OSError("it must be HOST:PORT, ray://HOST:PORT or auto")
        socket.create_connection((parts.hostname, parts.port), PATIENCE).close()
    except (OSError, ValueError) as error:
        raise StudyError(f"there is no Ray cluster at {address}: {error}") from error


@contextmanager
def connected(address: str | None, trials: Sequence[Trial]) -> Iterator[list[str]]:
    """Join the cluster at an address, or start one here; what this process is connected to already is used as it is.

    Args:
        address: of the cluster; None: one on this machine, for as long as the context.
        trials: what is to be run.

    Yields:
        What the cluster lacks now, in words.

    Raises:
        StudyError: if there is no cluster, or one that was started here can never run a trial.
    """
    import ray

    if ray.is_initialized():
        yield lacking(trials)
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    here = {"include_dashboard": False} if address in (None, "local") else {}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **here)
    except (ConnectionError, ValueError, RuntimeError) as error:
        problem, hint = " ".join(str(error).split()), "if it asks for a token, set RAY_AUTH_MODE=token"
        raise StudyError(f"cannot join the Ray cluster at {address}: {problem} ({hint})") from error
    try:
        lacks = lacking(trials)
        if here and lacks:
            raise StudyError(f"this machine is too small: {lacks[0]}; give the --ray-address of a cluster")
        with redirect_stdout(sys.stderr):  # where Ray tells of workers that died
            yield lacks
    finally:
        ray.shutdown()


def lacking(trials: Sequence[Trial]) -> list[str]:
    """What no node of the cluster has, in words: trials that want it wait until such a node joins."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = dict.fromkeys((trial.resources["cpus"], trial.resources["gpus"]) for trial in trials)
    return [
        f"no node has {cpus:g} CPUs and {gpus:g} GPUs, which trials want"
        for cpus, gpus in wanted
        if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes)
    ]


def task_options(trial: Trial) -> dict[str, object]:
    """Options of the Ray task that runs a trial: the engine itself tries again, so that it can count and say so."""
    return {
        "num_cpus": trial.resources["cpus"],
        "num_gpus": trial.resources["gpus"],
        "max_retries": 0,
        "runtime_env": {"env_vars": thread_variables(trial.threads)},
        "name": trial.label,
    }
