"""What trials of one task and model share: the task, the tokenizer and the examples, made once per process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar, cast

from harness.assets import cache_folder, resolve
from harness.registry import TASKS, Registry
from harness.trial import Component, Trial, canonical
from harness.validation import Key, build

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from tasks.base import Split, Task, Tokenizer
    from trainers.model_spec import ModelSpec

T = TypeVar("T")


@dataclass(frozen=True)
class Prepared:
    """A task with the model it is trained with.

    Attributes:
        task: built from the settings of the trial.
        model: where policies come from; assets are resolved.
        tokenizer: of the model; trained on the task where the model is fresh.
        train: what policies learn from; columns ``prompt``, ``completion``, ``finished``.
        split: that policies are judged on, and ``judged`` its examples.
        real: further real examples, the ceiling of any metric: validation, where that is not what is judged.
    """

    task: Task
    model: ModelSpec
    tokenizer: PreTrainedTokenizerBase
    train: Dataset
    split: Split
    judged: Dataset
    real: Dataset


def instance(registry: Registry[T], component: Component) -> T:
    """Build a trainer, task or metric from its settings, with assets resolved."""
    key = Key(f"{registry.kind} {component.name!r}")
    return build(registry.load(component.use), resolve(component.settings), key)


def prepare(trial: Trial) -> Prepared:
    """The task, tokenizer and examples of a trial.

    Raises:
        AssetError: if an asset is unknown or has not been fetched.
        TaskError: if the task has no examples.
        OSError, ValueError: if the tokenizer cannot be loaded.
    """
    return _prepare(canonical(trial.task.content()), trial.task.use, canonical(trial.model), trial.split)


def max_actions(trial: Trial, prepared: Prepared) -> int:
    """Actions after which a walk of a trial is cut."""
    return int(prepared.task.max_new_tokens * trial.generation["max_actions_per_token"])


@lru_cache(maxsize=8)
def _prepare(task_content: str, use: str, model_settings: str, split: Split) -> Prepared:
    from trainers.model_spec import ModelSpec
    from trainers.models import tokenizer_for

    component = Component(**{**json.loads(task_content), "use": use})
    task = instance(TASKS, component)
    model = build(ModelSpec, resolve(json.loads(model_settings)), Key("model"))
    tokenizer = tokenizer_for(model, task.corpus, cache_folder())
    counter = cast("Tokenizer", tokenizer)
    held_out = task.examples("validation", counter)
    judged, real = (task.examples("test", counter), held_out) if split == "test" else (held_out, held_out.select([]))
    return Prepared(task, model, tokenizer, task.examples("train", counter), split, judged, real)
