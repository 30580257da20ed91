"""Write docs/study.md: every key of a study file, as the dataclasses that read it declare and describe it.

Usage: python docs/study_keys.py [docs/study.md]
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from harness.registry import METRICS, TASKS, TRAINERS, Registry
from harness.study import Evaluation, Generation, Resources, Study
from trainers.base import Budget, Optimization
from trainers.decoding import Decoder
from trainers.model_spec import FreshModel, LoraSpec, ModelSpec

HEAD = """# Every key of a study

A study is a TOML file; [README.md](../README.md#use) shows a short one, and `harness/studies/` has the bundled ones. An
unknown key is an error that names the nearest valid one, and `seqmatch run STUDY --dry-run` checks a study without
running it. `--set a.b=value` overrides a key from the command line. This page is written by `docs/study_keys.py` from
the classes themselves; those of a plug-in have their keys in the same way.
"""
TABLES: dict[str, type] = {
    "At the top": Study,
    "[model]": ModelSpec,
    "[model.fresh]": FreshModel,
    "[model.lora]": LoraSpec,
    "[budget]": Budget,
    "[optimization]": Optimization,
    "[generation]": Generation,
    "[evaluation]": Evaluation,
    "[resources]": Resources,
    "[decoders.NAME]": Decoder,
}
REGISTRIES: dict[str, Registry[Any]] = {"trainers": TRAINERS, "tasks": TASKS, "metrics": METRICS}


def page() -> str:
    """The page in markdown."""
    parts = [HEAD, *(_section(f"## {title}", owner) for title, owner in TABLES.items())]
    for kind, registry in REGISTRIES.items():
        owners = {name: registry.load_entry(registry.entry(name)) for name in registry.builtin}
        parts += [f"## [{kind}.NAME]\n", *(_section(f"### {name}", owner) for name, owner in owners.items())]
    return "\n".join(parts)


def _section(heading: str, owner: type) -> str:
    told = _descriptions(owner)
    keys = [each for each in fields(owner) if each.init]
    rows = [f"| `{each.name}` | {_default(each)} | {told[each.name]} |" for each in keys]
    table = ["| key | default | what it is |", "|---|---|---|", *rows] if rows else ["No keys."]
    return "\n".join([heading, "", *table, ""])


def _descriptions(owner: type) -> dict[str, str]:
    """What the docstrings of a class and of what it extends say of their attributes."""
    found = dict[str, str]()
    for each in reversed(owner.__mro__):
        found.update(_attributes(inspect.cleandoc(each.__doc__ or "")))
    return found


def _attributes(docstring: str) -> Iterator[tuple[str, str]]:
    section = docstring.partition("Attributes:\n")[2].partition("\n\n")[0]
    for entry in re.split(r"\n(?= {4}\S)", section):
        names, _, text = entry.strip().partition(":")
        for name in names.split(", "):
            yield name.strip(), " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def _default(key: Field[Any]) -> str:
    if key.default is MISSING:
        return "needed" if key.default_factory is MISSING else ""
    return "" if key.default is None else f"`{json.dumps(key.default)}`"


if __name__ == "__main__":
    Path(sys.argv[1] if sys.argv[1:] else Path(__file__).with_name("study.md")).write_text(page())
