"""Supervised fine-tuning by trl."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

from trl import SFTConfig

from seqmatch_trl.clocked import Clocked
from seqmatch_trl.running import run
from trainers.base import Trainer

if TYPE_CHECKING:
    from datasets import Dataset

    from trainers.base import Budget, Context
    from trainers.policy import Policy

LossType = Literal["nll", "dft"]


@dataclass(frozen=True, kw_only=True)
class SFT(Trainer):
    """trl's ``SFTTrainer`` on completions: the likelihood of ``mle``, computed and minimised by other code.

    Attributes:
        loss_type: "nll" is the negative log-likelihood; "dft" weights it by the probability of the token (dynamic
            fine-tuning, Wu et al. 2025, arXiv 2508.05629).
    """

    loss_type: LossType = "nll"

    def __post_init__(self) -> None:
        if self.loss_type not in get_args(LossType):
            raise ValueError(f"loss_type must be one of {', '.join(get_args(LossType))}, got {self.loss_type!r}")

    def fit(self, policy: Policy, examples: Dataset, budget: Budget, context: Context) -> Policy:
        """Train with the data order, optimiser and schedule of the shared loop."""
        return run(Clocked, policy, examples, budget, context, "dropout", partial(SFTConfig, loss_type=self.loss_type))
