"""TensorBoard's event files in the results folder: ``tensorboard --logdir OUT/tensorboard``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Tensorboard:
    """One run.

    Args:
        folder: of its event file; emptied.
        configuration: of the run, written as a text.
    """

    def __init__(self, folder: Path, configuration: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder))
        self._writer.add_text("specification", f"```json\n{json.dumps(configuration, indent=1)}\n```")

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """Write scalars, and let a reader see them at once."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
