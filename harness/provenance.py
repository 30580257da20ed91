"""What computed a result: versions, source code, commit and machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
PACKAGES = ("harness", "trainers", "tasks", "metrics")
LIBRARIES = ("seqmatch", "torch", "transformers", "tokenizers", "datasets", "numpy", "mauve-text", "faiss-cpu")


def version(distribution: str) -> str:
    """Version of an installed distribution; "unknown" where it is not installed (run from a bare checkout)."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that can change a result; part of a trial's identity."""
    return {name: version(name) for name in LIBRARIES}


@cache
def source_digest(home: Path = HOME) -> str:
    """Digest of all Python files of the four packages, the same wherever they lie."""
    digest = hashlib.sha256()
    for path in sorted(path for package in PACKAGES for path in (home / package).rglob("*.py")):
        digest.update(path.relative_to(home).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@cache
def git_state(home: Path = HOME) -> dict[str, object] | None:
    """Commit and dirty flag of the checkout the packages come from; None where they come from no checkout."""

    def git(*arguments: str) -> str:
        run = subprocess.run(["git", "-C", str(home), *arguments], capture_output=True, text=True, check=True)
        return run.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "harness/__init__.py")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--", *PACKAGES))}
    except (OSError, subprocess.CalledProcessError):
        return None


def machine() -> dict[str, str]:
    """Python, operating system, processor and GPU, on whose kind the last bits of sums depend."""
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "gpu": _gpu(),
    }


def _gpu() -> str:
    """What the first GPU calls itself; "none" without one."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none"


def _processor() -> str:
    """What the processor calls itself; its architecture where it does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
