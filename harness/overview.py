"""What a study would run: every trial in a line."""

from __future__ import annotations

from collections.abc import Sequence

from harness.expansion import Plan
from harness.trial import Trial


def overview(plan: Plan) -> str:
    """The trials of a plan as an aligned text, a line each below a heading."""
    heading = ("identity", "trainer", "task", "seed", "model", "steps", "decoders", "metrics")
    count = len(plan.trials)
    table = aligned([heading, *map(_row, plan.trials)])
    return f"{table}{count} trial{'s' if count != 1 else ''} of study {plan.study.name}\n"


def aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows of cells in columns of equal width, a line each."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "".join(f"{line}\n" for line in lines)


def _row(trial: Trial) -> tuple[str, ...]:
    return (
        trial.identity[:8],
        trial.trainer.name,
        trial.task.name,
        str(trial.seed),
        _model(trial),
        str(trial.budget["steps"]),
        ",".join(trial.decoders),
        ",".join(metric.name for metric in trial.metrics),
    )


def _model(trial: Trial) -> str:
    model = trial.model
    if model["fresh"]:
        fresh = model["fresh"]
        name = f"fresh {fresh['num_hidden_layers']}x{fresh['hidden_size']}"
    else:
        name = model["path"] or model["hub"]
    return name + (f" + LoRA {model['lora']['rank']}" if model["lora"] else "")
