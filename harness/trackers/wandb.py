"""Weights & Biases, offline unless ``$WANDB_MODE`` says otherwise: ``wandb sync OUT/wandb/offline-run-*``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class WeightsAndBiases:
    """One run.

    Args:
        project: that it is listed under.
        name: of the run.
        folder: that gets a folder ``wandb`` with the run.
        configuration: of the run.
    """

    def __init__(self, project: str, name: str, folder: Path, configuration: Mapping[str, Any]) -> None:
        import wandb

        mode: Any = os.environ.get("WANDB_MODE", "offline")
        self._run = wandb.init(
            project=project,
            name=name,
            dir=folder,
            config=dict(configuration),
            mode=mode,
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """Send numbers; steps must not go back."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """End the run once all is written.

        ``finish`` returns before its service has written the last of it, and a worker may end then; so the service is
        ended too, unless a run of the user's own needs it.
        """
        import wandb

        self._run.finish()
        if wandb.run is None:
            wandb.teardown()
