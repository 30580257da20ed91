"""How long the training examples of a trial are, in tokens: measured where the data is at hand, else bounded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from harness.assets import cache_folder, resolve
from harness.errors import AssetError
from harness.preparation import instance
from harness.registry import TASKS
from harness.trial import Trial
from harness.validation import Key, build

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    from tasks.base import Task, Tokenizer


@dataclass(frozen=True)
class Lengths:
    """The examples of a task under the tokenizer of its model.

    Attributes:
        prompts: tokens of every training prompt, the start token included.
        actions: actions of every training completion, the end of the text included where it is learnt.
        vocabulary: tokens of the tokenizer; None where it is not at hand.
        new: most visible tokens that a policy may write.
        source: where the lengths come from.
    """

    prompts: NDArray[np.int64]
    actions: NDArray[np.int64]
    vocabulary: int | None
    new: int
    source: str


class _Bytes:
    """Stands in for a tokenizer that is not at hand: no tokenizer of these models makes more tokens than bytes."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        del add_special_tokens
        return list(text.encode())

    def decode(self, token_ids: list[int]) -> str:
        return bytes(token_ids).decode(errors="replace")


def lengths(trial: Trial) -> Lengths | str:
    """Find out how long the training examples of a trial are, without a hub.

    Returns:
        The lengths, or a sentence on why nothing is known of them.
    """
    from trainers.batches import finished

    try:
        task: Task = instance(TASKS, trial.task)
    except AssetError:
        task = build(TASKS.load(trial.task.use), trial.task.settings, Key(f"task {trial.task.name!r}"))
    tokenizer = _tokenizer(trial, task)
    vocabulary = None if tokenizer is None else len(tokenizer)
    if (fixed := task.fixed_lengths) is not None:
        prompts, actions = (np.full(fixed.examples, size) for size in (1 + fixed.prompt, fixed.completion))
        return Lengths(prompts, actions, vocabulary, task.max_new_tokens, "the settings, which fix them")
    try:
        rows = task.examples("train", cast("Tokenizer", tokenizer or _Bytes()))
    except Exception as error:
        return f"its examples cannot be read ({type(error).__name__}: {error})"
    prompts, actions = (_counts(rows[name], tokenizer) for name in ("prompt", "completion"))
    bound = "the data in bytes, which are the most tokens that there can be: the tokenizer is not at hand"
    ends = np.array(finished(rows), np.int64)
    return Lengths(prompts + 1, actions + ends, vocabulary, task.max_new_tokens, "the data" if tokenizer else bound)


def _tokenizer(trial: Trial, task: Task) -> PreTrainedTokenizerBase | None:
    """The tokenizer of a model, where that needs neither a hub nor data that is not on this machine."""
    from transformers import AutoTokenizer

    from trainers.model_spec import ModelSpec
    from trainers.models import tokenizer_for

    try:
        model = build(ModelSpec, resolve(trial.model), Key("model"))
        if model.fresh is None:
            found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(model.source, local_files_only=True)
            # Of a folder without a tokenizer's files transformers makes one that knows nothing.
            return found if found.encode("a", add_special_tokens=False) else None
        if not task.local:
            return None
        return tokenizer_for(model, task.corpus, cache_folder())
    except Exception:  # whatever keeps a run from its tokenizer, the plan can do without
        return None


def _counts(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase | None) -> NDArray[np.int64]:
    if tokenizer is None:
        return np.array([len(text.encode()) for text in texts], np.int64)
    return np.array([len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]], np.int64)
