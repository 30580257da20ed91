"""A small study with everything that has a state, and what it means that two runs of it are equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from small_studies import small_study, small_tables, toy

from harness.expansion import plan
from harness.store import Store
from harness.study import Study

FRESH = {**small_tables()["model"]["fresh"], "max_position_embeddings": 64}
FILES = ("results", "generations", "series", "curve", "evaluations")


def stateful_study(feature_model: str) -> Study:
    """Dropout-free and small, but with everything that has a state: roll-outs, noise, evaluations, features."""
    return small_study(**stateful_changes(feature_model))


def stateful_changes(feature_model: str) -> dict[str, Any]:
    """What it has other than the small study."""
    return {
        "seeds": 1,
        "model": {"fresh": FRESH},
        "budget": {"steps": 6},
        "optimization": {"batch_size": 4, "log_every": 1},
        "checkpoint_every": 2,
        "save_policies": True,
        "evaluation": {"points": 3, "metrics": ["trajectories"]},
        "trainers": {
            "mle": {},
            "sequence_match_backspace": {"cloning_share": 0.3, "refresh_every": 2, "refresh": 4, "buffer_size": 6},
        },
        "tasks": {
            "letters": {
                "use": toy("Letters"),
                "train": 40,
                "test": 50,
                "validation": 4,
                "metrics": {
                    "accuracy": {},
                    "trajectories": {},
                    "mauve": {"model": feature_model, "clusters": 2, "clusterings": 1, "permutations": 9},
                },
            }
        },
    }


def equal(out: Path, whole: Path, found: Study) -> None:
    """Every table and every policy is the same, but for the clock on the wall."""
    for name in ("results", *FILES):
        for trial in plan(found).trials:
            one, other = (
                pd.read_parquet(folder / "trials" / trial.label / f"{name}.parquet") for folder in (out, whole)
            )
            pd.testing.assert_frame_equal(
                one.drop(columns="seconds", errors="ignore"), other.drop(columns="seconds", errors="ignore"), obj=name
            )
    for trial in plan(found).trials:
        weights = [Store(folder).policy(trial) / "model.safetensors" for folder in (out, whole)]
        assert weights[0].read_bytes() == weights[1].read_bytes()
    assert not list(out.rglob(".tmp-*"))
    assert not list(out.glob("checkpoints/*"))
