"""How long work takes on a device, from its FLOPs and the memory that sampling has to read."""

from __future__ import annotations

from dataclasses import dataclass

from harness.costing.work import Work


@dataclass(frozen=True)
class Device:
    """A device.

    Attributes:
        name: as the output calls it.
        flops: floating point operations per second that training reaches.
        bandwidth: bytes per second at which sampling reads the weights; None: sampling is counted by its FLOPs alone.
    """

    name: str
    flops: float
    bandwidth: float | None = None

    def hours(self, work: Work, weight_bytes: int) -> float:
        """Hours that a training takes.

        Args:
            work: of the training.
            weight_bytes: of the model; each pass of sampling reads them once.
        """
        sampling = work.sampling_flops / self.flops
        if self.bandwidth is not None:
            sampling = max(sampling, work.passes * weight_bytes / self.bandwidth)
        return ((work.flops - work.sampling_flops) / self.flops + sampling) / 3600


UTILISATION = 0.4
H100 = Device(
    "one H100 (40 % of its 989 TFLOP/s in bf16; sampling reads the weights at 3.35 TB/s)", UTILISATION * 989e12, 3.35e12
)


def device(flops_per_second: float | None) -> Device:
    """The H100, or any device that reaches so many floating point operations per second."""
    return H100 if flops_per_second is None else Device(f"a device of {flops_per_second:.3g} FLOP/s", flops_per_second)
