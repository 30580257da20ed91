"""The engine that a user asks for."""

from __future__ import annotations

from harness.engines import Engine
from harness.engines.serial import Serial
from harness.engines.workers import Workers
from harness.errors import RequestError


def choose(name: str = "local", workers: int | None = None, ray_address: str | None = None) -> Engine:
    """The engine of a run.

    Args:
        name: "local" or "ray".
        workers: processes of the engine local; one, or None: trials run in this process.
        ray_address: of the cluster of the engine ray, see ``harness.engines.ray.Ray``.

    Raises:
        RequestError: if these do not go together.
        StudyError: if there is no Ray, or no cluster at the address.
    """
    if workers is not None and workers < 1:
        raise RequestError(f"workers must be at least 1, got {workers}")
    if name == "ray":
        if workers is not None:
            raise RequestError("--workers is of --engine local: Ray runs as many trials at a time as the cluster holds")
        from harness.engines.ray import Ray

        return Ray(ray_address)
    if ray_address is not None:
        raise RequestError("--ray-address is of --engine ray: give both")
    return Serial() if workers in (None, 1) else Workers(workers)
