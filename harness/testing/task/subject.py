"""A task with what is needed to try it out: a tokenizer trained on its corpus, and its examples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal, cast

from harness.testing.battery import skip
from harness.testing.subjects import Plugin, task_of
from harness.trial import canonical
from harness.validation import plain, settings_of
from tasks.base import Split, Task, Tokenizer
from tasks.settings import SPLITS
from trainers.model_spec import FreshModel, ModelSpec
from trainers.models import tokenizer_for

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

Column = Literal["prompt", "completion"]
COLUMNS = {"prompt": ("string", "large_string"), "completion": ("string", "large_string"), "finished": ("bool",)}
"""Columns of examples, and what Arrow may call their types."""
SMALL = 64
"""Examples a split where a task is built again only to be compared: enough for the metrics that need most."""
MODEL = FreshModel(
    hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, merges=256, alphabet="bytes"
)
SAMPLE = 2000
"""Examples of a split that are tokenised: tokenising all of a large task takes seconds."""
CONTEXT = 2048
"""Tokens that a prompt and what follows must fit into: the context of the smaller models that are used."""


@dataclass(frozen=True)
class Rows:
    """The examples of a split, as lists."""

    prompts: Sequence[str]
    completions: Sequence[str]
    finished: Sequence[bool]


@dataclass(frozen=True)
class PreparedTask:
    """A task and all that comes of it.

    Attributes:
        task: with the settings that are checked.
        tokenizer: a byte-level BPE, trained on the corpus.
        tables: the examples by split.
        encoded: token ids of texts, by split and column, as far as they were asked for.
    """

    task: Task
    tokenizer: PreTrainedTokenizerBase
    tables: Mapping[Split, Dataset]
    encoded: dict[tuple[Split, Column], list[list[int]]] = field(default_factory=dict)


@lru_cache(maxsize=2)
def _prepared(address: str, version: str, settings: str) -> PreparedTask:
    """All that checks only read, made once per process: a large task takes seconds."""
    del version  # a file that was changed is another task
    task = task_of(address, json.loads(settings)).create()
    tokenizer = tokenizer_for(ModelSpec(fresh=MODEL), task.corpus, None)
    return PreparedTask(
        task, tokenizer, {split: task.examples(split, cast("Tokenizer", tokenizer)) for split in SPLITS}
    )


@dataclass
class TaskSubject:
    """A task to be checked.

    Attributes:
        plugin: where it comes from, and its settings.
    """

    plugin: Plugin[Task]

    @cached_property
    def prepared(self) -> PreparedTask:
        """The task under the settings that are checked; nothing may change what it holds."""
        return _prepared(self.plugin.address, self.plugin.entry.version, canonical(self.plugin.settings))

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer as tasks see it."""
        return cast("Tokenizer", self.prepared.tokenizer)

    @property
    def sizes(self) -> dict[str, int]:
        """Settings that make the splits small, where the task has settings of that name and they are not chosen."""
        free = [name for name in SPLITS if name in settings_of(self.plugin.cls) and name not in self.plugin.settings]
        defaults = {name: plain(self.prepared.task)[name] for name in free}
        return {name: min(SMALL, size) for name, size in defaults.items() if type(size) is int}

    def task(self, **settings: Any) -> Task:
        """A new task, with further settings."""
        return self.plugin.create(**settings)

    def small(self, **settings: Any) -> Task:
        """A new task with few examples, and further settings."""
        return self.task(**self.sizes, **settings)

    def rows(self, split: Split) -> Rows:
        """The examples of a split; the check is skipped where they have not the columns."""
        table = self.prepared.tables[split]
        if problem := columns_problem(table):
            skip(f"the examples of {split} cannot be read: {problem}")
        return Rows(*(table[column][:] for column in COLUMNS))

    def sample(self, split: Split) -> Rows:
        """The examples of a split, or of a large one about ``SAMPLE`` of them, at even distances."""
        rows = self.rows(split)
        step = max(1, len(rows.prompts) // SAMPLE)
        return Rows(rows.prompts[::step], rows.completions[::step], rows.finished[::step])

    def encoded(self, split: Split, column: Column) -> list[list[int]]:
        """Token ids of the prompts or completions of a split's sample."""
        known, rows = self.prepared.encoded, self.sample(split)
        if (split, column) not in known:
            known[split, column] = self.encode(rows.prompts if column == "prompt" else rows.completions)
        return known[split, column]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts, without special tokens."""
        if not texts:
            return []
        ids: list[list[int]] = self.prepared.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return ids

    def contents(self, task: Task, splits: Sequence[Split] = SPLITS) -> dict[Split, str]:
        """A digest of the examples of each split, asked for in this order."""
        return {split: digest(task.examples(split, self.tokenizer)) for split in splits}


def columns_problem(table: Any) -> str:
    """What is wrong with the columns of examples; empty: nothing."""
    features = getattr(table, "features", None)
    if features is None:
        return f"they are a {type(table).__name__}, and must be a datasets.Dataset (see tasks.examples.examples_table)"
    for column, types in COLUMNS.items():
        if column not in features:
            return f"there is no column {column!r}, only {', '.join(features)}"
        if (found := getattr(features[column], "dtype", None)) not in types:
            return f"the column {column!r} is of type {found}, and must be {types[0]}"
        if nulls := table.data.column(column).null_count:
            return f"{nulls} entries of the column {column!r} are missing"
    return ""


def digest(table: Dataset) -> str:
    """A digest of a table's columns and rows."""
    content = {column: table[column][:] for column in table.column_names}
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()
