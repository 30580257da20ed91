"""The state of the shared loop as tensors and JSON data: enough to go on to the same bits after a crash."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from trainers.checkpoints import Snapshot

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from trainers.base import Meter

_OPTIMIZER = "optimizer"


class Stateful(Protocol):
    """Has a state of JSON data (a replay buffer)."""

    def state(self) -> Any:
        """The state."""

    def restore(self, state: Any) -> None:
        """Go back to a state."""


class Scheduler(Protocol):
    """A learning rate scheduler of torch, or one wrapped by accelerate."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class TrainingState:
    """All that changes while the shared loop runs.

    Frozen weights do not change, and are made again from the trial: adapters alone are kept of a large model.

    Attributes:
        model: unwrapped.
        optimizer: its state is per parameter, tensors or numbers.
        schedule: of the learning rate.
        scaler: of the gradients in fp16; None in other precisions.
        meter: the clocks.
        rollouts: where the model's own trajectories come from, if anywhere.
    """

    model: Module
    optimizer: torch.optim.Optimizer
    schedule: Scheduler
    scaler: torch.amp.GradScaler | None
    meter: Meter
    rollouts: Stateful | None

    def snapshot(self, step: int) -> Snapshot:
        """Copy the state after ``step`` optimiser steps of this loop."""
        optimizer = self.optimizer.state_dict()
        tensors = {f"model.{name}": tensor for name, tensor in self._weights().items()} | _random_tensors()
        numbers: dict[str, dict[str, Any]] = {}
        for index, state in optimizer["state"].items():
            for name, value in state.items():
                if isinstance(value, torch.Tensor):
                    tensors[f"{_OPTIMIZER}.{index}.{name}"] = value
                else:
                    numbers.setdefault(str(index), {})[name] = value
        return Snapshot(
            {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()},
            {
                "step": step,
                "optimizer": {"numbers": numbers, "param_groups": optimizer["param_groups"]},
                "schedule": {name: value for name, value in self.schedule.state_dict().items() if name != "lr_lambdas"},
                "scaler": self.scaler and self.scaler.state_dict(),
                "meter": self.meter.state(),
                "rollouts": self.rollouts and self.rollouts.state(),
                "python_random": random.getstate(),
                "numpy_random": _numpy_state(),
            },
        )

    def restore(self, snapshot: Snapshot) -> int:
        """Go back to a snapshot of an equal training, and return the number of optimiser steps that it had taken.

        Raises:
            KeyError, ValueError, RuntimeError: if it is of another training.
        """
        tensors, data = snapshot.tensors, snapshot.data
        with torch.no_grad():
            for name, tensor in self._weights().items():
                tensor.copy_(tensors[f"model.{name}"])
        state: dict[int, dict[str, Any]] = {int(k): dict(v) for k, v in data["optimizer"]["numbers"].items()}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == _OPTIMIZER:
                index, _, field = rest.partition(".")
                state.setdefault(int(index), {})[field] = tensor
        self.optimizer.load_state_dict({"state": state, "param_groups": data["optimizer"]["param_groups"]})
        self.schedule.load_state_dict({**self.schedule.state_dict(), **data["schedule"]})
        if self.scaler is not None:
            self.scaler.load_state_dict(data["scaler"])
        self.meter.restore(data["meter"])
        if self.rollouts is not None:
            self.rollouts.restore(data["rollouts"])
        _restore_random(snapshot)
        return int(data["step"])

    def _weights(self) -> dict[str, Tensor]:
        """What training can change of the model."""
        kept = {name: each for name, each in self.model.named_parameters() if each.requires_grad}
        return kept | dict(self.model.named_buffers())


def _random_tensors() -> dict[str, Tensor]:
    states = {"random.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["random.cuda"] = torch.cuda.get_rng_state()
    return states


def _numpy_state() -> list[Any]:
    name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    return [name, np.asarray(keys).tolist(), position, has_gauss, gauss]


def _restore_random(snapshot: Snapshot) -> None:
    torch.set_rng_state(snapshot.tensors["random.cpu"])
    if "random.cuda" in snapshot.tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(snapshot.tensors["random.cuda"])
    version, words, gauss = snapshot.data["python_random"]
    random.setstate((version, tuple(words), gauss))
    name, keys, *rest = snapshot.data["numpy_random"]
    np.random.set_state((name, np.array(keys, np.uint32), *rest))  # noqa: NPY002
