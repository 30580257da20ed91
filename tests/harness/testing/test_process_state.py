"""What a check leaves behind in the process is gone before the next one."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile

import torch

from harness.testing.battery import Check, Tier
from harness.testing.process_state import process_settings, torch_settings
from harness.testing.running import run_check


def spoil(subject: None) -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)
    torch.autograd.set_detect_anomaly(True)
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
    os.chdir(tempfile.gettempdir())
    os.environ["LEFT_BEHIND"] = "1"
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.getLogger("transformers").setLevel(1)
    logging.disable(logging.CRITICAL)
    sys.path.append("/nowhere")
    sys.setrecursionlimit(sys.getrecursionlimit() + 1)


def test_settings_that_a_check_leaves_behind_are_put_back() -> None:
    before = torch_settings(), process_settings()
    outcome = run_check(Check("spoil", "Spoils all settings.", Tier.QUICK, spoil), lambda: None)
    assert outcome.status == "passed", outcome.reason
    assert (torch_settings(), process_settings()) == before
