from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar
from metrics.base import *


@dataclass(frozen=True, kw_only=True)
class Clashes(Metric):
    values: ClassVar[Mapping[str, Value]] = {"accuracy": Value(True, (0, 1))}

    def compute(self, generations, context):
        raise MetricError("not these generations")

    @classmethod
    def known_answers(cls):
        return []


class Refuses(Clashes):
    values: ClassVar[Mapping[str, Value]] = {"refused": Value(True, (0, 1))}
