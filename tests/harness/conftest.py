"""A small study, and the command line called in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.study import Study

TOYS = Path(__file__).with_name("toys.py")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SEQMATCH_ASSETS", raising=False)


@pytest.fixture(autouse=True)
def _forget_prepared() -> Iterator[None]:
    from harness.preparation import _prepare

    yield
    _prepare.cache_clear()


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    def call(*arguments: object) -> Outcome:
        from harness.cli import main

        monkeypatch.setattr(sys, "argv", ["seqmatch", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


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
    import json

    lines = [f"{name} = {json.dumps(value)}" for name, value in table.items() if not isinstance(value, dict)]
    for name, value in table.items():
        if isinstance(value, dict):
            path = f"{prefix}{json.dumps(name)}"
            lines += [f"[{path}]", to_toml(value, f"{path}.")]
    return "\n".join(lines)


@pytest.fixture
def study_file(tmp_path: Path) -> Callable[..., Path]:
    def write(**changes: Any) -> Path:
        path = tmp_path / "small.toml"
        path.write_text(to_toml({**small_tables(), **changes}))
        return path

    return write
