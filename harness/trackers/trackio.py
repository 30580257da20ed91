"""Trackio keeps its runs on this machine, in ``$TRACKIO_DIR``: ``trackio show``."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any


class Trackio:
    """One run.

    Args:
        project: that it is listed under.
        name: of the run.
        configuration: of the run.
    """

    def __init__(self, project: str, name: str, configuration: Mapping[str, Any]) -> None:
        import trackio

        # It greets on standard output, which belongs to the table of the results.
        with redirect_stdout(io.StringIO()):
            self._run = trackio.init(project=project, name=name, config=dict(configuration), embed=False)

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """Send numbers."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """End the run once all is written."""
        import trackio

        # Of the module, or it would end the run once more when the process ends.
        with redirect_stdout(io.StringIO()):
            trackio.finish()
