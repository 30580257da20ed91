"""Metrics that depend on what is around them: the folder, hashes, the network, modules that may not be installed."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from harness.registry import METRICS
from metrics.base import MetricContext, MetricError

# By its path: a process that is given this file's has no folder of tests on its own path.
Fine: Any = METRICS.load(f"{Path(__file__).with_name('broken_metrics.py')}:Fine")


class OfTheFolder(Fine):
    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        return super().score(generations, context) / (1 + sum(os.getcwd().encode()))


class Litters(Fine):
    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        Path("scores.txt").write_text("1.0")
        return super().score(generations, context)


class Hashes(Fine):
    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        return super().score(generations, context) * (hash("words") % 1000 / 1000)


class Connects(Fine):
    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        with contextlib.suppress(OSError):
            socket.create_connection(("localhost", 9), timeout=1).close()
        return super().score(generations, context)


@cache
def fetched() -> None:
    with contextlib.suppress(OSError):
        socket.create_connection(("localhost", 9), timeout=1)


class ConnectsOnce(Fine):
    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        fetched()
        return super().score(generations, context)


class OptionalModule(Fine):
    def extras(self) -> Mapping[str, str]:
        return {"sacrebleu": "bleu"}

    def score(self, generations: pd.DataFrame, context: MetricContext) -> float:
        self.load()
        return super().score(generations, context)

    def load(self) -> None:
        pass


class KeepsInMemory(OptionalModule):
    def load(self) -> None:
        _loaded()


@cache
def _loaded() -> object:
    import sacrebleu

    return sacrebleu.BLEU()


class NeedsNoModule(OptionalModule):
    pass


class WrongError(OptionalModule):
    def load(self) -> None:
        if sys.modules.get("sacrebleu", self) is None:
            raise RuntimeError("no luck")


class Unnamed(OptionalModule):
    def load(self) -> None:
        if sys.modules.get("sacrebleu", self) is None:
            raise MetricError("something is not installed")
