"""Settings for all tests: offline, one thread per process, the same hypothesis examples every time."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

settings.register_profile("seqmatch", deadline=None, derandomize=True)
settings.load_profile("seqmatch")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
