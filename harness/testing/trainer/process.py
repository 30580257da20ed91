"""A trainer leaves the process as it found it: the next trial runs in it."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch

from harness.testing.battery import require
from harness.testing.trainer.battery import TRAINER
from harness.testing.trainer.subject import TrainerSubject


def torch_settings() -> dict[str, Any]:
    """Settings of torch that hold for the whole process."""
    return {
        "default dtype": torch.get_default_dtype(),
        "default device": str(torch.get_default_device()),
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "anomaly detection": torch.is_anomaly_enabled(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "number of threads": torch.get_num_threads(),
        "matmul precision": torch.get_float32_matmul_precision(),
        "cudnn.deterministic": torch.backends.cudnn.deterministic,
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
    }


def process_settings() -> dict[str, Any]:
    """Settings of Python and of the operating system that hold for the whole process."""
    loggers = {
        name: (logger.level, list(logger.handlers), logger.disabled)
        for name in ("root", "transformers", "datasets", "accelerate")
        for logger in [logging.getLogger(name)]
    }
    return {
        "working directory": os.getcwd(),
        "environment variables": dict(os.environ),
        "warning filters": list(warnings.filters),
        "logging": (logging.root.manager.disable, loggers),
        "signal handlers": {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)},
        "sys.path": list(sys.path),
        "recursion limit": sys.getrecursionlimit(),
        "excepthook": sys.excepthook,
    }


def _restore_torch(settings: dict[str, Any]) -> None:
    """Put back what the next check would stumble over."""
    torch.set_default_dtype(settings["default dtype"])
    torch.set_grad_enabled(settings["grad mode"])
    torch.use_deterministic_algorithms(settings["deterministic algorithms"])
    torch.autograd.set_detect_anomaly(settings["anomaly detection"])
    torch.set_num_threads(settings["number of threads"])
    torch.set_float32_matmul_precision(settings["matmul precision"])
    torch.backends.cudnn.deterministic = settings["cudnn.deterministic"]
    torch.backends.cudnn.benchmark = settings["cudnn.benchmark"]


def _restore_process(settings: dict[str, Any]) -> None:
    os.chdir(settings["working directory"])
    os.environ.clear()
    os.environ.update(settings["environment variables"])
    warnings.filters[:] = settings["warning filters"]  # type: ignore[index]
    for number, handler in settings["signal handlers"].items():
        signal.signal(number, handler)
    disabled, loggers = settings["logging"]
    logging.disable(disabled)
    for name, (level, handlers, off) in loggers.items():
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.handlers, logger.disabled = list(handlers), off
    sys.path[:] = settings["sys.path"]
    sys.setrecursionlimit(settings["recursion limit"])
    sys.excepthook = settings["excepthook"]


def _left_behind(
    subject: TrainerSubject, read: Callable[[], dict[str, Any]], restore: Callable[[dict[str, Any]], None]
) -> list[str]:
    """What the second of two trainings changed: in the first, a library that is imported may do what it likes."""
    names = list[str]()
    for _ in range(2):
        before = read()
        try:
            subject.fit()
            after = read()
        finally:
            restore(before)
        names = [name for name in before if before[name] != after[name]]
    return names


@TRAINER.check()
def settings_of_torch_are_left_alone(subject: TrainerSubject) -> None:
    """Training leaves no setting of torch behind: dtype, gradients, determinism, threads, precision."""
    names = _left_behind(subject, torch_settings, _restore_torch)
    require(not names, f"training changed a setting of torch ({', '.join(names)}): restore it in a finally")


@TRAINER.check()
def settings_of_the_process_are_left_alone(subject: TrainerSubject) -> None:
    """Training leaves nothing behind in the process: folder, environment, warning filters, loggers, signal handlers."""
    names = _left_behind(subject, process_settings, _restore_process)
    require(not names, f"training changed a setting of the process ({', '.join(names)}): restore it in a finally")


@TRAINER.check()
def no_file_is_written(subject: TrainerSubject) -> None:
    """Training writes no file into the working directory, and prints nothing."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        printed = io.StringIO()
        with redirect_stdout(printed):
            subject.fit()
        left = sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))
        os.chdir("/")
    require(
        not left, f"training wrote {', '.join(left[:5])} into the working directory: use tempfile, or write nothing"
    )
    require(
        not printed.getvalue(),
        f"training printed {printed.getvalue().splitlines()[:1]} on standard output, where the command writes tables "
        "and JSON: use context.report, or logging",
    )
