"""What is read of a publication: a run's tables and provenance without the directories of its trials."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from harness.errors import StoreError
from harness.json_files import read_json
from harness.tables import long_table

if TYPE_CHECKING:
    import pandas as pd

PROVENANCE = "provenance.json"
"""By trial what its ``trial.json`` says beyond the specification, which is in ``study.json``."""


def is_published(out: Path) -> bool:
    """Whether a folder is a publication and not a run."""
    return (out / PROVENANCE).is_file()


def published_table(out: Path, name: str) -> pd.DataFrame:
    """A long table of a publication, "results" or "evaluations".

    Raises:
        StoreError: if it cannot be read.
    """
    import pandas as pd

    path = out / f"{name}.parquet"
    try:
        return long_table(pd.read_parquet(path))
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise StoreError(f"{path} cannot be read ({error}): take it from where {out} was published") from error


def published_record(out: Path, label: str) -> dict[str, Any] | None:
    """What computed a trial; None where the publication does not have it.

    Raises:
        StoreError: if it cannot be read.
    """
    path = out / PROVENANCE
    try:
        record: dict[str, Any] | None = read_json(path).get(label)
    except (OSError, ValueError, AttributeError) as error:
        raise StoreError(f"{path} cannot be read ({error}): take it from where {out} was published") from error
    return record
