"""Train with every trainer in one process of a launch, and write down what it saw: the script of test_processes.py."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from trainers.base import Budget, Context, Loss, Meter, Optimization, Trainer
from trainers.batches import Batch
from trainers.behavioral_cloning import BehavioralCloning
from trainers.checkpoints import Snapshot
from trainers.mle import MaximumLikelihood
from trainers.model_spec import FreshModel, LoraSpec, ModelSpec
from trainers.models import build_policy, tokenizer_for
from trainers.policy import Policy
from trainers.processes import Processes
from trainers.sequence_match import SequenceMatch, SequenceMatchBackspace

STEPS = 24
TEXTS = ["abcde", "ace", "bead", "cab", "deed", "ebb"]
EXAMPLES = {
    "prompt": ["a", "", "bb", "c", "d", "ee", "ab", "cd"],
    "completion": ["bcde", "ace", "ead", "ab", "eed", "bb", "abc", "e"],
    "finished": [True, True, True, False, True, True, False, True],
}
SHORT = {"cloning_share": 0.3, "refresh_every": 3, "refresh": 7}
"""Seven roll-outs: two processes sample unequal shares."""
TRAINERS: dict[str, Trainer] = {
    "mle": MaximumLikelihood(),
    "behavioral_cloning": BehavioralCloning(noise=0.3, noise_kind="policy"),
    "sequence_match_backspace": SequenceMatchBackspace(**SHORT, noise=0.3, noise_rollouts=True),
    "head": SequenceMatch(**SHORT, levels="head", level_warmup_share=0.2, rollout_ratio=0.2),
}


class InMemory:
    """Keeps the snapshot after a step, as a file would."""

    def __init__(self, step: int, kept: Snapshot | None = None) -> None:
        self.step, self.kept = step, kept

    def load(self) -> Snapshot | None:
        return self.kept

    def due(self, step: int) -> bool:
        return step == self.step

    def save(self, snapshot: Snapshot) -> None:
        self.kept = Snapshot(snapshot.tensors, json.loads(json.dumps(snapshot.data)))


@dataclass(frozen=True, kw_only=True)
class Watching(MaximumLikelihood):
    """Notes the state of torch's generator at every loss."""

    states: list[str] = field(default_factory=list)

    def loss(self, policy: Policy, batch: Batch) -> Loss:
        self.states.append(hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest())
        return super().loss(policy, batch)


@dataclass(frozen=True, kw_only=True)
class NotANumber(MaximumLikelihood):
    """Its loss is not finite, in the last process alone."""

    def loss(self, policy: Policy, batch: Batch) -> Loss:
        loss, processes = super().loss(policy, batch), Processes.present()
        return replace(loss, total=loss.total * torch.nan) if processes.rank == processes.size - 1 else loss


def policy_of(trainer: Trainer, lora: LoraSpec | None = None, seed: int = 0) -> Policy:
    fresh = FreshModel(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, merges=0, alphabet="seen"
    )
    spec = ModelSpec(fresh=fresh, lora=lora)
    return build_policy(spec, tokenizer_for(spec, lambda: iter(TEXTS), None), backspace=trainer.backspace, seed=seed)


def fit(
    trainer: Trainer, policy: Policy, checkpoints: InMemory | None = None, late: float = 0, **changes: Any
) -> dict[str, Any]:
    rows: list[Mapping[str, float]] = []
    optimization = replace(Optimization(batch_size=8, learning_rate=1e-2, log_every=1), **changes)
    context = Context(
        seeds={"order": 1, "noise": 2, "rollout": 3, "dropout": 4},
        optimization=optimization,
        meter=Meter(started=time.monotonic() - late),
        max_new_tokens=6,
        max_actions=20,
        report=rows.append,
    )
    context = replace(context, checkpoints=checkpoints) if checkpoints else context
    trainer.fit(policy, Dataset.from_dict(EXAMPLES), Budget(steps=STEPS, seconds=10_000), context)
    weights = [each.detach().double().flatten() for each in policy.model.parameters()]
    return {"rows": [dict(row) for row in rows], "weights": torch.cat(weights).tolist()}


def refusal(trainer: Trainer = TRAINERS["mle"], seed: int = 0, **changes: Any) -> str:
    try:
        fit(trainer, policy_of(trainer, seed=seed), **changes)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "none"


def summed(processes: Processes) -> list[float | None]:
    """Gradients of three parameters: one that all have, one that the last process alone has, one that none has."""
    parameters = [torch.nn.Parameter(torch.zeros(())) for _ in range(3)]
    parameters[0].grad = torch.tensor(processes.rank + 1.0)
    if processes.rank == processes.size - 1:
        parameters[1].grad = torch.tensor(5.0)
    processes.add_gradients(parameters)
    return [None if each.grad is None else float(each.grad) for each in parameters]


def total(processes: Processes) -> tuple[int, dict[str, float]]:
    """Of sums that all have, and of one that the last process alone has."""
    own = {"last": 5.0} if processes.rank == processes.size - 1 else {}
    return processes.total(processes.rank + 1, {"all": processes.rank + 1.0, **own})


def refusals(processes: Processes) -> dict[str, str]:
    first, trainer = InMemory(1), TRAINERS["mle"]
    start = fit(trainer, policy_of(trainer), first)
    assert start["rows"][0]["learning_rate"] == 0, "the weights after one step are those at the start"
    return {
        "small batch": refusal(batch_size=1),
        "other weights": refusal(seed=processes.rank),
        "other steps": refusal(checkpoints=first if processes.rank == 0 else None),
        "loss of one": refusal(NotANumber()),
    }


def all_runs() -> dict[str, Any]:
    runs = {name: fit(trainer, policy_of(trainer)) for name, trainer in TRAINERS.items()}
    trainer = TRAINERS["sequence_match_backspace"]
    runs["adapters"] = fit(trainer, policy_of(trainer, LoraSpec(rank=4)))
    runs["accumulation"] = fit(trainer, policy_of(trainer), accumulation=2)
    runs["dropout"] = fit(trainer, policy_of(trainer, LoraSpec(rank=4, dropout=0.5)), kept := InMemory(10))
    runs["dropout resumed"] = fit(trainer, policy_of(trainer, LoraSpec(rank=4, dropout=0.5)), InMemory(0, kept.kept))
    watching = Watching()
    runs["states"] = {**fit(watching, policy_of(watching)), "states": watching.states}
    trainer, rank = TRAINERS["mle"], Processes.present().rank
    runs["others late"] = fit(trainer, policy_of(trainer), late=1e6 * rank)
    runs["first late"] = fit(trainer, policy_of(trainer), late=1e6 * (rank == 0))
    return runs


def main(out: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    processes = Processes.present()
    found = {
        "size": processes.size,
        "summed": summed(processes),
        "total": total(processes),
        "runs": all_runs(),
        "refusals": refusals(processes),
    }
    (out / f"{processes.rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    main(Path(sys.argv[1]))
