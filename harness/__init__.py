"""Harness: runs a study of trainers, tasks and metrics, and keeps what it measures.

Importing the package loads nothing heavy; ``run`` and ``load_results`` load what they need when first used.
"""

import importlib
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.engine import run as run
    from harness.store import load_results as load_results

_LAZY = {"run": "harness.engine", "load_results": "harness.store"}


def _check_siblings() -> None:
    """Raise ImportError where a folder or file of the user hides one of the other packages."""
    home = Path(__file__).resolve().parent.parent
    for name in ("trainers", "tasks", "metrics"):
        expected = home / name
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise ImportError(
                f"package {name!r} is missing beside harness: {expected} does not exist; reinstall seqmatch"
            )
        places = list(spec.submodule_search_locations or [])
        found = Path(places[0] if places else spec.origin or name).resolve()
        if found != expected:
            raise ImportError(
                f"{found} hides the package {name!r} of seqmatch, which is {expected}: "
                "rename it, or run from another folder"
            )


_check_siblings()


def __getattr__(name: str) -> object:
    if name == "__version__":
        return importlib.metadata.version("seqmatch")
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
