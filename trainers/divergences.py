"""Divergences between occupancies, in the variational form ``sup_r E_data[phi(r)] - E_model[r]``.

Logits are read as soft Q-values, so the argument of phi is the implied reward
``x = logit(a|s) - gamma V(s')``, scaled by the entropy temperature alpha (by ``c alpha`` in the exact form of the
mixture: only that product matters there). Every phi is concave. Where one has a bounded domain, or grows faster
than floating point can follow, it is continued by its tangent at the edge: the continuation is concave,
has a continuous slope, and is never NaN. Optima lie inside the domain, so they are the same.

A constant added to all rewards changes no divergence, since ``phi(r + k) - k`` has the same supremum. It is chosen so
that ``phi(0) = 0`` and ``phi'(0) = 1``: where model and data agree the best reward is 0, and not a constant that the
values of all states would have to add up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Divergence:
    """One divergence.

    Attributes:
        name: as in a study file.
        formula: phi inside its domain, elementwise.
        edge: below this argument phi is continued by its tangent.
        scaled_by_c: the strength c multiplies the argument of phi.
        penalised: charges ``(c/2) x^2`` under data and model (the mixture's penalty form).
    """

    name: str
    formula: Callable[[Tensor], Tensor]
    edge: float = float("-inf")
    scaled_by_c: bool = False
    penalised: bool = False

    def phi(self, x: Tensor) -> Tensor:
        """The concave function of the scaled reward, elementwise; where c scales it, at c = 1."""
        if self.edge == float("-inf"):
            return self.formula(x)
        value, slope = self._tangent
        inside = x >= self.edge
        return torch.where(inside, self.formula(torch.where(inside, x, self.edge)), value + slope * (x - self.edge))

    def scale(self, alpha: float, c: float) -> float:
        """What logit units are multiplied with to become the argument of phi."""
        return c * alpha if self.scaled_by_c else alpha

    @property
    def _tangent(self) -> tuple[float, float]:
        with torch.enable_grad():
            edge = torch.tensor(self.edge, dtype=torch.float64, requires_grad=True)
            value = self.formula(edge)
            (slope,) = torch.autograd.grad(value, edge)
        return float(value.detach()), float(slope)


DIVERGENCES: Mapping[str, Divergence] = MappingProxyType(
    {
        each.name: each
        for each in (
            Divergence("forward_kl", torch.log1p, edge=-0.99),
            Divergence("reverse_kl", lambda x: 1 - torch.exp(-x), edge=-9.0),
            Divergence("hellinger", lambda x: x / (1 + x), edge=-0.99),
            Divergence("jensen_shannon", lambda x: torch.log(2 - torch.exp(-x)), edge=-0.69),
            Divergence("chi2", lambda x: x - x.square() / 4),
            Divergence("chi2_mixture", lambda x: x, penalised=True),
            Divergence(
                "chi2_mixture_exact", lambda x: 2 * (torch.sqrt(1 + 2 * x) - 1) - x, edge=-0.499, scaled_by_c=True
            ),
        )
    }
)
"""By name. ``chi2_mixture`` is the default of Cundy & Ermon (2023), in its penalty form."""
