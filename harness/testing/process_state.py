"""Settings that hold for the whole process: read, compared by checks, and put back after each of them."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections.abc import Mapping
from typing import Any, cast

import torch

_LOGGERS = ("root", "transformers", "datasets", "accelerate")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def torch_settings() -> dict[str, Any]:
    """Settings of torch, by name."""
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


def restore_torch(settings: Mapping[str, Any]) -> None:
    """Put back what ``torch_settings`` read; modes that end with their context manager are left alone."""
    torch.set_default_dtype(settings["default dtype"])
    torch.set_grad_enabled(settings["grad mode"])
    torch.use_deterministic_algorithms(settings["deterministic algorithms"])
    torch.autograd.set_detect_anomaly(settings["anomaly detection"])
    torch.set_num_threads(settings["number of threads"])
    torch.set_float32_matmul_precision(settings["matmul precision"])
    torch.backends.cudnn.deterministic = settings["cudnn.deterministic"]
    torch.backends.cudnn.benchmark = settings["cudnn.benchmark"]


def process_settings() -> dict[str, Any]:
    """Settings of Python and of the operating system, by name."""
    loggers = {name: logging.getLogger(name) for name in _LOGGERS}
    return {
        "working directory": os.getcwd(),
        "environment variables": dict(os.environ),
        "warning filters": list(warnings.filters),
        "logging": (
            logging.root.manager.disable,
            {name: (logger.level, list(logger.handlers), logger.disabled) for name, logger in loggers.items()},
        ),
        "signal handlers": {number: signal.getsignal(number) for number in _SIGNALS},
        "sys.path": list(sys.path),
        "recursion limit": sys.getrecursionlimit(),
        "excepthook": sys.excepthook,
    }


def restore_process(settings: Mapping[str, Any]) -> None:
    """Put back what ``process_settings`` read."""
    os.chdir(settings["working directory"])
    os.environ.clear()
    os.environ.update(settings["environment variables"])
    cast("list[Any]", warnings.filters)[:] = settings["warning filters"]  # its type hides the list
    for number, handler in settings["signal handlers"].items():
        if signal.getsignal(number) != handler:
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
