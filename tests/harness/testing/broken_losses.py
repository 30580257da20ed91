"""Trainers whose loss is wrong in one thing each; they use the shared loop."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainers.backspace import IGNORE
from trainers.base import Loss
from trainers.batches import Batch
from trainers.behavioral_cloning import BehavioralCloning
from trainers.mle import MaximumLikelihood
from trainers.noise import NoiseKind
from trainers.policy import Policy
from trainers.scores import score
from trainers.sequence_match import SequenceMatch


def cost(policy: Policy, batch: Batch, acts: Tensor) -> Tensor:
    """``-log pi`` of some actions, shape ``(batch, slots)``."""
    scores, _ = score(policy, batch.data, acts)
    return -scores.log_probability.masked_fill(~acts, 0.0)


@dataclass(frozen=True, kw_only=True)
class Uphill(MaximumLikelihood):
    def loss(self, policy: Policy, batch: Batch) -> Loss:
        loss = super().loss(policy, batch)
        return Loss(-loss.total, loss.steps)


@dataclass(frozen=True, kw_only=True)
class NoEnds(MaximumLikelihood):
    def loss(self, policy: Policy, batch: Batch) -> Loss:
        acts = batch.data.acts
        return Loss(cost(policy, batch, acts & (batch.data.labels != policy.actions.eos)).sum(), int(acts.sum()))


@dataclass(frozen=True, kw_only=True)
class CountsTwice(MaximumLikelihood):
    def loss(self, policy: Policy, batch: Batch) -> Loss:
        loss = super().loss(policy, batch)
        return Loss(loss.total, 2 * loss.steps)


@dataclass(frozen=True, kw_only=True)
class WeighsByWidth(MaximumLikelihood):
    def loss(self, policy: Policy, batch: Batch) -> Loss:
        loss = super().loss(policy, batch)
        return Loss(loss.total * (batch.data.labels.shape[1] / 10), loss.steps)


@dataclass(frozen=True, kw_only=True)
class FavoursTheFirstRow(MaximumLikelihood):
    def loss(self, policy: Policy, batch: Batch) -> Loss:
        acts = batch.data.acts
        weights = torch.ones(len(acts), 1)
        weights[0] = 2
        return Loss((weights * cost(policy, batch, acts)).sum(), int(acts.sum()))


@dataclass(frozen=True, kw_only=True)
class MeansOverRows(MaximumLikelihood):
    def loss(self, policy: Policy, batch: Batch) -> Loss:
        loss = super().loss(policy, batch)
        return Loss(loss.total / len(batch.data.labels), loss.steps)


@dataclass(frozen=True, kw_only=True)
class WritesIntoItsBatch(MaximumLikelihood):
    def loss(self, policy: Policy, batch: Batch) -> Loss:
        loss = super().loss(policy, batch)
        batch.data.step.add_(1)
        return loss


@dataclass(frozen=True, kw_only=True)
class WritesIntoItsRollouts(SequenceMatch):
    def loss(self, policy: Policy, batch: Batch) -> Loss:
        loss = super().loss(policy, batch)
        if batch.rollouts is not None:
            batch.rollouts.step.add_(1)
        return loss


@dataclass(frozen=True, kw_only=True)
class ImitatesNoise(BehavioralCloning):
    def loss(self, policy: Policy, batch: Batch) -> Loss:
        all_acts = replace(batch, data=replace(batch.data, expert=torch.ones_like(batch.data.expert)))
        labelled = batch.data.labels != IGNORE
        return Loss(cost(policy, all_acts, labelled).sum(), int(batch.data.acts.sum()))


@dataclass(frozen=True, kw_only=True)
class NeverErases(BehavioralCloning):
    def loss(self, policy: Policy, batch: Batch) -> Loss:
        acts = batch.data.acts
        return Loss(cost(policy, batch, acts & (batch.data.labels != policy.actions.bksp)).sum(), int(acts.sum()))


@dataclass(frozen=True, kw_only=True)
class ErasesEverything(BehavioralCloning):
    """Noise like the policy's own acts, more often than not: greedy decoding then writes and erases for ever."""

    noise: float = 0.6
    noise_kind: NoiseKind = "policy"
