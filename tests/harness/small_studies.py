"""A small study, as tables, as an object and as TOML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.study import Study

TOYS = Path(__file__).with_name("toys.py")


def toy(name: str) -> str:
    return f"{TOYS}:{name}"


def small_tables() -> dict[str, Any]:
    return {
        "name": "small",
        "seeds": 2,
        "model": {
            "fresh": {
                "hidden_size": 8,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "intermediate_size": 8,
                "max_position_embeddings": 16,
                "merges": 0,
                "alphabet": "seen",
            }
        },
        "budget": {"steps": 3},
        "trainers": {"pretrained": {}, "shift": {"use": toy("Shift")}},
        "tasks": {"letters": {"use": toy("Letters")}},
    }


def small_study(**changes: Any) -> Study:
    return Study(**{**small_tables(), **changes})


def to_toml(table: dict[str, Any], prefix: str = "") -> str:
    lines = [f"{name} = {json.dumps(value)}" for name, value in table.items() if not isinstance(value, dict)]
    for name, value in table.items():
        if isinstance(value, dict):
            path = f"{prefix}{json.dumps(name)}"
            lines += [f"[{path}]", to_toml(value, f"{path}.")]
    return "\n".join(lines)
