"""Virtual environments for tests: packages that seqmatch does not depend on, on top of those it runs with."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"


@dataclass(frozen=True)
class Environment:
    """A virtual environment; what it lacks, torch for one, it takes from that of the tests."""

    folder: Path

    @property
    def packages(self) -> Path:
        """Where its own packages are."""
        places = {"base": str(self.folder), "platbase": str(self.folder)}
        return Path(sysconfig.get_path("purelib", "venv", vars=places))

    def python(
        self, *arguments: str | Path, cwd: Path, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run its interpreter, with this checkout of seqmatch, without a hub."""
        own = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        command = [self.folder / "bin" / "python", *arguments]
        environment = {**os.environ, **own, **(variables or {})}
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)


def environment(config: pytest.Config, name: str, *requirements: str | Path, constrained: bool = True) -> Environment:
    """Make an environment, or take the one that an earlier run made of the same ingredients.

    Args:
        config: says where pytest keeps its cache.
        name: of the environment.
        requirements: of pip; a folder is a project.
        constrained: whether the constraints of this checkout hold.
    """
    assert config.cache is not None, "these tests keep environments in pytest's cache"
    made = Environment(config.cache.mkdir("environments") / name)
    marker, key = made.folder / "made-of", _digest(requirements)
    with FileLock(made.folder.with_suffix(".lock")):
        if not (marker.is_file() and marker.read_text() == key):
            venv.create(made.folder, clear=True, with_pip=True, symlinks=True)
            below = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
            lines = [f"import site; site.addsitedir({place!r})" for place in below]
            (made.packages / "below.pth").write_text("\n".join(lines))
            _install(made, requirements, constrained)
            marker.write_text(key)
    return made


def _install(made: Environment, requirements: tuple[str | Path, ...], constrained: bool) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        # Projects are copied, so that building them leaves nothing in the checkout.
        copies = [
            shutil.copytree(each, Path(scratch) / each.name) if isinstance(each, Path) else each
            for each in requirements
        ]
        options = ["--constraint", CONSTRAINTS] if constrained else []
        run = made.python("-m", "pip", "install", "--quiet", *options, *copies, cwd=Path(scratch))
    assert run.returncode == 0, run.stderr


def _digest(requirements: tuple[str | Path, ...]) -> str:
    digest = hashlib.sha256(f"{sys.version} {sys.prefix}".encode() + CONSTRAINTS.read_bytes())
    for each in requirements:
        digest.update(str(each).encode())
        files = sorted(each.rglob("*")) if isinstance(each, Path) else []
        for file in files:
            if file.suffix in (".py", ".toml"):
                digest.update(file.relative_to(each).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()
