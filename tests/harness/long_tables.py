"""Long tables for tests, from arrays of values."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.tables import long_table


def of_values(values, *, metric="score", task="t", higher_is_better=True, decoder="d", errors=None):
    """The rows of one metric and task: ``values`` is {trainer: a value, or a status, per seed}."""
    rows = []
    for trainer, each in values.items():
        for seed, value in enumerate(each):
            row = {"study": "s", "trial": f"{trainer}-{task}-{seed}", "trainer": trainer, "task": task, "seed": seed}
            row["decoder"] = decoder
            if isinstance(value, str):
                rows.append({**row, "status": value})
            else:
                error = np.nan if errors is None else errors[trainer][seed]
                number = {"metric": metric, "value": value, "sample_error": error, "higher_is_better": higher_is_better}
                rows.append({**row, **number, "status": "finished"})
    return long_table(rows)


def of_studies(values, trainers):
    """Many tasks at once: ``values`` of shape ``(tasks, trainers, seeds)``."""
    tasks, _, seeds = values.shape
    index = pd.MultiIndex.from_product([range(tasks), trainers, range(seeds)], names=["task", "trainer", "seed"])
    table = pd.DataFrame({"value": values.ravel()}, index=index).reset_index()
    return long_table(
        table.assign(study="s", trial="x", decoder="d", metric="score", higher_is_better=True, status="finished")
    )
