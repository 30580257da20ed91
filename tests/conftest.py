"""Settings for all tests: offline, one thread per process, the same hypothesis examples every time.

Processes that tests start can be interrupted, even where the tests run in the background of a shell, which ignores
interrupts; and options meant for this pytest are not for one that a test starts.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# before numpy, faiss and torch are imported, which read them then
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
os.environ.pop("PYTEST_ADDOPTS", None)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("seqmatch", deadline=None, derandomize=True)
settings.load_profile("seqmatch")


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of fetched models and texts; tests that need it fail without it, they are not skipped."""
    from harness.assets import is_complete, location

    assert is_complete(location()), "fetch the assets first: make setup"
    return location()


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
