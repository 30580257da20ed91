"""Training with several processes: each takes its part of every optimiser step, and the gradients are summed.

The model is not wrapped. Losses here are sums, so the gradient of a batch is the sum of those of its parts, whatever a
trainer does in between: several forward passes, layers that only some steps use, adapters, micro-batches. One sum of
gradients per optimiser step is then all that DistributedDataParallel would do, without its hooks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.nn import Parameter

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes of a launch, in the order of their ranks.

    Every method but ``own`` is called by all of them, in the same order.

    Attributes:
        rank: of this one, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def present(cls) -> Processes:
        """Those of torch's default process group; this one alone where there is none."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    def own(self, parts: Sequence[T]) -> Sequence[T]:
        """The parts of this process: every ``size``-th."""
        return parts[self.rank :: self.size]

    def gathered(self, value: T) -> list[T]:
        """What all processes give, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    def agreed(self, value: T) -> T:
        """What the first process says."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def total(self, steps: int, sums: dict[str, float]) -> tuple[int, dict[str, float]]:
        """Add up counts of steps, and named sums over them; a process may lack a name."""
        if self.size == 1:
            return steps, sums
        found = self.gathered((steps, sums))
        whole = dict[str, float]()
        for _, each in found:
            add(whole, each)
        return sum(each for each, _ in found), whole

    def add_gradients(self, parameters: Sequence[Parameter]) -> None:
        """Sum gradients over processes, in place.

        One that a process lacks is zero there, and one that all lack stays so: the optimiser leaves it alone.
        """
        if self.size == 1:
            return
        present = torch.tensor([each.grad is not None for each in parameters], dtype=torch.int32)
        present = present.to(parameters[0].device)
        distributed.all_reduce(present)
        sums = []
        for parameter, wanted in zip(parameters, present.tolist(), strict=True):
            if wanted:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                sums.append(distributed.all_reduce(parameter.grad, async_op=True))
        for each in sums:
            each.wait()

    def reseed(self, seed: int, step: int) -> None:
        """Give this process dropout of its own at a step; the first goes on with the stream of a single process."""
        if self.rank:
            torch.manual_seed((seed * 1_000_003 + step) * self.size + self.rank & 2**63 - 1)

    def differ(self, parameters: Sequence[Parameter]) -> bool:
        """Whether any process holds other parameters than the first, by their sums and sums of squares."""
        if self.size == 1:
            return False
        with torch.no_grad():
            marks = [float(mark) for each in parameters for mark in (each.double().sum(), each.double().square().sum())]
        return any(self.gathered(marks != self.agreed(marks)))


def add(sums: dict[str, float], more: Mapping[str, float]) -> None:
    """Add to named sums in place."""
    for name, value in more.items():
        sums[name] = sums.get(name, 0.0) + value
