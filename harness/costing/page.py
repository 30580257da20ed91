"""The cost of a study as a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

from harness.costing.architecture import Architecture, architecture
from harness.costing.devices import Device
from harness.costing.lengths import lengths
from harness.costing.memory import Memory, memory
from harness.costing.work import Work, owns_loop, work
from harness.expansion import Plan
from harness.overview import aligned
from harness.preparation import instance
from harness.progress import quiet
from harness.registry import TRAINERS
from harness.trial import Trial

NAN, UNKNOWN = nan, "?"
SPENDING = ("trainer", "task", "seeds", "parameters", "trained", "tokens", "sampled", "FLOPs", "most", "hours", "most")
HOLDING = ("trainer", "task", "weights", "gradients", "AdamW", "activations", "recomputed", "sampling", "peak", "least")
CAVEATS = (
    "Tokens are those of training, and FLOPs 6 (training) or 2 (sampling) times parameters times tokens, frozen "
    "parameters too, as the results count them; `pretrained` spends none.",
    "Noise is taken at its mean and roll-outs at the mean length of the data; `most` is with roll-outs as long as they "
    "may get.",
    "Memory is that of one trial, in GB of 10^9 bytes: weights, gradients and AdamW by the byte, activations and "
    "sampling estimated from the longest examples and roll-outs.",
    "`recomputed` and `least` are with gradient checkpointing (`model.gradient_checkpointing`).",
    "Test generations, metrics and measurements on the way are not counted.",
)


@dataclass(frozen=True)
class Cost:
    """The trials of one trainer and task.

    Attributes:
        trials: one per seed.
        model: None where its configuration is unknown.
        likely, most: what all seeds spend; None where the data or the model are unknown.
        memory: of one trial.
    """

    trials: tuple[Trial, ...]
    model: Architecture | None = None
    likely: Work | None = None
    most: Work | None = None
    memory: Memory | None = None

    @property
    def names(self) -> tuple[str, str]:
        """Trainer and task."""
        return self.trials[0].trainer.name, self.trials[0].task.name


def costs(plan: Plan, device: Device) -> str:
    """What the trials of a plan cost, per trainer and task and in total; nothing is run and no weights are read."""
    kinds: dict[tuple[str, str], list[Trial]] = {}
    for trial in plan.trials:
        kinds.setdefault((trial.trainer.name, trial.task.name), []).append(trial)
    notes = list[str]()
    with quiet():
        found = [_cost(tuple(trials), notes) for trials in kinds.values()]
    prose = "\n".join([f"Hours are of {device.name}.", *CAVEATS, *dict.fromkeys(notes)])
    return "\n".join([aligned(_spending(found, device)), aligned(_holding(found)), prose, ""])


def _cost(trials: tuple[Trial, ...], notes: list[str]) -> Cost:
    trial = trials[0]
    trainer, where = instance(TRAINERS, trial.trainer), f"Task {trial.task.name}"
    if owns_loop(trainer):
        notes.append(
            f"Trainer {trial.trainer.name}: it has a loop of its own; counted as if it read as the shared one."
        )
    if trial.budget["seconds"] is not None:
        notes.append(f"{where}: training ends after {trial.budget['seconds']:g} s, if its steps take longer.")
    sizes = lengths(trial)
    if isinstance(sizes, str):
        notes.append(f"{where}: {sizes}.")
        return Cost(trials)
    model = architecture(trial, sizes.vocabulary, backspace=trainer.backspace)
    notes.append(f"{where}: the lengths of the examples come from {sizes.source}.")
    if isinstance(model, str):
        notes.append(f"{where}: {model}.")
        return Cost(trials)
    notes.append(f"{where}: the model is that of {model.source}.")
    likely, most = (
        sum((work(each, sizes, model.parameters, most=flag) for each in trials), Work()) for flag in (False, True)
    )
    return Cost(trials, model, likely, most, memory(trial, sizes, model))


def _spending(found: Sequence[Cost], device: Device) -> list[tuple[str, ...]]:
    rows, sums = list[tuple[str, ...]]([SPENDING]), [0.0] * 6
    for cost in found:
        numbers = [NAN] * 6
        if cost.model and cost.likely and cost.most:
            hours = [device.hours(each, cost.model.weight_bytes) for each in (cost.likely, cost.most)]
            numbers = [cost.likely.tokens, cost.likely.sampled, cost.likely.flops, cost.most.flops, *hours]
        sums = [total + number for total, number in zip(sums, numbers, strict=True)]
        learns = bool(cost.likely and cost.likely.tokens)
        size = [cost.model.parameters, cost.model.trained * learns] if cost.model else [NAN] * 2
        rows.append((*cost.names, str(len(cost.trials)), *map(_number, [*size, *numbers])))
    seeds = str(sum(len(cost.trials) for cost in found))
    return [*rows, ("total", "", seeds, "", "", *map(_number, sums))]


def _holding(found: Sequence[Cost]) -> list[tuple[str, ...]]:
    rows = list[tuple[str, ...]]([HOLDING])
    for cost in found:
        held, numbers = cost.memory, [NAN] * 8
        if held:
            parts = [held.weights, held.gradients, held.states, held.activations, held.checkpointed, held.sampling]
            numbers = [*map(float, parts), held.peak(), held.peak(checkpointed=True)]
        rows.append((*cost.names, *(_number(number / 1e9) for number in numbers)))
    return rows


def _number(value: float) -> str:
    """Three digits, large numbers with an exponent; "?" for what is unknown."""
    if isnan(value):
        return UNKNOWN
    if value == 0:
        return "0"
    return f"{value:.2e}".replace("e+0", "e").replace("e+", "e") if value >= 1000 else f"{value:.3g}"
