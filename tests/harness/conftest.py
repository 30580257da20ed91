"""A cache of its own for every test, a feature model, the small study in a file, and the command line called here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from small_studies import small_tables, to_toml
from stateful import stateful_study

import harness


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


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path, where distributions can be put."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random feature model."""
    from trainers.model_spec import FreshModel, ModelSpec
    from trainers.models import build_policy, tokenizer_for

    spec = ModelSpec(fresh=FreshModel(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8))
    folder = tmp_path_factory.mktemp("llama")
    build_policy(spec, tokenizer_for(spec, lambda: iter(["0123456789"]), None), backspace=False, seed=0).save(folder)
    return str(folder)


@pytest.fixture(scope="session")
def whole(llama: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the stateful study from a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole")
    harness.run(stateful_study(llama), out)
    return out


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """An empty folder for ``faults.Deadly``."""
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


@pytest.fixture
def study_file(tmp_path: Path) -> Callable[..., Path]:
    def write(**changes: Any) -> Path:
        path = tmp_path / "small.toml"
        path.write_text(to_toml({**small_tables(), **changes}))
        return path

    return write
