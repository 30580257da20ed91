"""What a finished trial left to be measured again: its examples, generations and policy, checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.digests import verify
from harness.errors import StoreError, StudyError
from harness.preparation import Prepared, prepare
from harness.store import Store
from harness.trial import Trial

if TYPE_CHECKING:
    import pandas as pd

    from trainers.policy import Policy


def prepared_again(trial: Trial) -> Prepared:
    """The task and examples of a trial.

    Raises:
        StudyError: if the task cannot be prepared any more.
    """
    try:
        return prepare(trial)
    except (OSError, ValueError, ImportError) as error:
        raise StudyError(f"task {trial.task.name!r}: {error}") from error


def stored_generations(trial: Trial, store: Store, prepared: Prepared) -> dict[str, pd.DataFrame]:
    """What a trial wrote, by decoder, a row per example in their order.

    Raises:
        StoreError: if the table is damaged, or was written for other examples: plug-ins and data may have
            changed since, and references of other examples would give numbers that mean nothing.
    """
    table, found = store.generations(trial), {}
    for name in trial.decoders:
        mine = table[table["decoder"] == name].reset_index(drop=True)
        wrote = list(mine["prompt"]), list(mine["reference"])
        if wrote != (list(prepared.judged["prompt"]), list(prepared.judged["completion"])):
            raise StoreError(
                f"task {trial.task.name!r} has other {trial.split} examples now than {trial.label} was tested on: "
                f"delete {store.trials / trial.label} and run the study again"
            )
        found[name] = mine
    return found


def load_policy(folder: Path) -> Policy:
    """The trained policy of a trial.

    Raises:
        StoreError: if its files are damaged or were edited.
    """
    from trainers.policy import Policy

    verify(folder, folder.parent)
    try:
        return Policy.load(folder)
    except Exception as error:  # whatever transformers and safetensors raise on damaged files
        advice = f"delete {folder.parent} and run the study again"
        raise StoreError(f"{folder} cannot be read ({error}): {advice}") from error
