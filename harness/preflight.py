"""Checks before any training: what would spoil a run is found in seconds, and nothing has been written."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.assets import resolve
from harness.costing.work import rollouts_of
from harness.errors import StoreError, StudyError
from harness.measuring import lacks, omission
from harness.mirror import Mirror
from harness.preparation import Prepared, instance, prepare
from harness.published import is_published
from harness.registry import METRICS, TRAINERS
from harness.trial import Trial, canonical

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def check_writable(out: Path) -> None:
    """Check that the results folder can be made and written to, that of a mirror too, and leave nothing behind.

    Raises:
        StoreError: naming what is in the way.
    """
    if is_published(out):
        raise StoreError(f"{out} is a publication, which no trials are added to: choose another --out")
    place = out.absolute()
    try:
        while not place.exists():
            place = place.parent
        if not place.is_dir():
            raise StoreError(f"cannot write results to {out}: {place} is a file")
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        raise StoreError(f"cannot write results to {out}: {place}: {error.strerror}") from error
    if mirror := Mirror.of(out):
        mirror.check_writable()


def check_trials(trials: Iterable[Trial], note: Callable[[str], None]) -> None:
    """Prepare every distinct task and model, and check data, context and metrics.

    Args:
        trials: what is to be run.
        note: told what is being checked, and which numbers will be missing.

    Raises:
        StudyError: naming the task, and what to change.
    """
    combinations = dict[str, list[Trial]]()
    for trial in trials:
        combination = canonical([trial.task.content(), trial.model, [metric.content() for metric in trial.metrics]])
        resolve(trial.trainer.settings)
        combinations.setdefault(combination, []).append(trial)
    for alike in combinations.values():
        note(f"checking task {alike[0].task.name}")
        _check_combination(alike[0], any(map(_samples, alike)), note)


def _samples(trial: Trial) -> bool:
    """Whether the policy writes on in training what the prompts of the data begin."""
    try:
        return rollouts_of(trial, instance(TRAINERS, trial.trainer)) is not None
    except StudyError:
        return False  # a bug of a plug-in, see below


def _check_combination(trial: Trial, samples: bool, note: Callable[[str], None]) -> None:
    name = trial.task.name
    try:
        prepared = prepare(trial)
    except StudyError:
        raise
    except (OSError, ValueError, ImportError) as error:
        raise StudyError(f"task {name!r}: {error}") from error
    except Exception:
        return  # a bug of a plug-in: its trials fail with a traceback, the others go on
    lengths = partial(_check_context, samples=samples)
    for check in (_check_installed, _check_not_empty, lengths, _check_round_trip, _check_overlap):
        problem = check(prepared)
        if problem:
            raise StudyError(f"task {name!r}: {problem}")
    _check_metrics(trial, prepared, note)


def _check_installed(prepared: Prepared) -> str | None:
    from trainers.quantization import missing

    return missing() if prepared.model.quantization else None


def _check_not_empty(prepared: Prepared) -> str | None:
    empty = [split for split, rows in (("train", prepared.train), (prepared.split, prepared.judged)) if not len(rows)]
    return f"there are no examples in {' and '.join(empty)}" if empty else None


def _check_context(prepared: Prepared, samples: bool) -> str | None:
    """A prompt and what may follow it must fit into the context, the start token included."""
    context = _context_length(prepared)
    prompts, new = prepared.judged["prompt"], prepared.task.max_new_tokens
    written = [1 + len(prompt) + new for prompt in _encode(prepared.tokenizer, prompts)]
    starts = _encode(prepared.tokenizer, prepared.train["prompt"])
    sampled = [1 + len(prompt) + new for prompt in starts] if samples else [0]
    texts = zip(
        starts,
        _encode(prepared.tokenizer, prepared.train["completion"]),
        prepared.train["finished"],  # the end of the text is an action, and has a place of its own
        strict=True,
    )
    read = [1 + len(prompt) + len(completion) + ends for prompt, completion, ends in texts]
    for what, lengths in (
        (f"a {prepared.split} prompt with {new} new tokens", written),
        ("a training example", read),
        (f"a training prompt with a roll-out of {new} new tokens", sampled),
    ):
        if max(lengths) > context:
            return (
                f"{what} takes {max(lengths)} tokens, the start token included, and the model's context has {context} "
                "(max_position_embeddings): shorten the examples or lengthen the context"
            )
    return None


def _check_round_trip(prepared: Prepared) -> str | None:
    """Every text must be what its tokens decode to, or no policy can ever write it."""
    for split, rows in (("train", prepared.train), (prepared.split, prepared.judged)):
        for column in ("prompt", "completion"):
            texts = list(rows[column])
            decoded = prepared.tokenizer.batch_decode(_encode(prepared.tokenizer, texts))
            changed = [(text, back) for text, back in zip(texts, decoded, strict=True) if text != back]
            if changed:
                text, back = changed[0]
                return (
                    f"{len(changed)} of {len(texts)} {split} {column}s do not survive the tokenizer: {text!r} becomes "
                    f"{back!r}; "
                    'use a tokenizer that keeps them (model.fresh.alphabet = "bytes" keeps any text)'
                )
    return None


def _check_overlap(prepared: Prepared) -> str | None:
    """Where a task wants disjoint splits, no test prompt may be in training (nor an unprompted completion)."""
    if not prepared.task.disjoint:
        return None

    def questions(rows: Sequence[dict[str, str]]) -> list[str]:
        return [row["prompt"] or row["completion"] for row in rows]

    train = set(questions(list(prepared.train)))
    shared = [question for question in questions(list(prepared.judged)) if question in train]
    if shared:
        found = f"{len(shared)} of {len(prepared.judged)} {prepared.split} examples"
        return f"{found} are also in training, for example {shared[0]!r}"
    return None


def _check_metrics(trial: Trial, prepared: Prepared, note: Callable[[str], None]) -> None:
    split, there = prepared.split, len(prepared.judged)
    for component in trial.metrics:
        metric = instance(METRICS, component)
        where = f"task {trial.task.name!r}: metric {component.name!r}"
        if there < metric.minimum_n:
            raise StudyError(
                f"{where} needs at least {metric.minimum_n} {split} examples, and there are {there}: "
                f"enlarge the {split} set or drop the metric{metric.minimum_reason and f' ({metric.minimum_reason})'}"
            )
        if lacking := lacks(prepared.task, metric):
            raise StudyError(f"{where} needs {lacking}: drop it")
        for module, extra in metric.extras().items():
            if importlib.util.find_spec(module) is None:
                raise StudyError(f"{where} needs {module}: pip install 'seqmatch[{extra}]'")
        if left_out := omission(prepared, metric):
            note(f"{where} reports {left_out}")


def _encode(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> list[list[int]]:
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return ids


def _context_length(prepared: Prepared) -> int:
    """Context of the model in tokens; unbounded where its configuration names none."""
    if prepared.model.fresh is not None:
        return prepared.model.fresh.max_position_embeddings
    from transformers import AutoConfig

    from trainers.model_spec import context_length

    try:
        config = AutoConfig.from_pretrained(prepared.model.source)
    except (OSError, ValueError) as error:
        raise StudyError(f"model {prepared.model.source!r}: {error}") from error
    return context_length(config)
