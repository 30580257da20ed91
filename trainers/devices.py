"""Models are used where they would be trained: on the device that accelerate chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def placed(model: PreTrainedModel) -> PreTrainedModel:
    """Move a model to the device that accelerate trains on; one that a quantiser has put there stays as it is."""
    from accelerate import PartialState

    device = PartialState().device
    return model if model.device.type == device.type else model.to(device)
