"""Documents from folders, files and data sets of a hub."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.base import TaskError

PIECES = 10
WORD = re.compile(r"(?<!\S)\S")
"""The first character of a word; words are separated by white space."""


def read_documents(source: str, *, field: str = "text", subset: str | None = None) -> Sequence[str]:
    """Return the documents of a source, in an order that depends on the source alone.

    Args:
        source: one of

            - a folder with .txt files at any depth, each a document, sorted by relative file name;
            - a folder with .jsonl files at any depth, or one such file: each line is a document;
            - one .txt file, which is cut at white space into ten documents of about equal length;
            - another folder that ``datasets.load_dataset`` reads (Parquet, say), or the name of a data set on
              a hub. Its ``train`` split is read, and documents are fetched when they are used.
        field: name of the text in .jsonl lines and data sets.
        subset: configuration of a data set, for those that have several.

    Raises:
        TaskError: if the source does not exist, cannot be read or decoded, or has no text.
    """
    if source.startswith("asset:"):
        raise TaskError(
            f"text source {source!r}: the harness replaces 'asset:' by a folder; elsewhere, name the folder"
        )
    path = Path(source).expanduser()
    documents: Sequence[str] | None = _read_local(path, field) if path.exists() else None
    if documents is None:
        if not path.exists() and (path.is_absolute() or len(path.parts) > 2 or path.suffix in (".txt", ".jsonl")):
            raise TaskError(f"text source {source!r}: there is no such file or folder")
        documents = _load_dataset(source, field, subset)
    elif subset is not None:
        raise TaskError(f"text source {source!r}: subset {subset!r} is for data sets of a hub; files have none")
    if not any(document and not document.isspace() for document in documents):
        raise TaskError(f"text source {source!r}: the corpus is empty, there is no text in it")
    return documents


def _read_local(path: Path, field: str) -> list[str] | None:
    """Read .txt or .jsonl files; None where a folder has neither."""
    if path.is_file():
        if path.suffix == ".txt":
            return _cut(_read_text(path))
        if path.suffix == ".jsonl":
            return _read_lines(path, field)
        raise TaskError(f"text source {str(path)!r}: a file must be .txt or .jsonl")
    texts, lines = (_find(path, pattern) for pattern in ("*.txt", "*.jsonl"))
    if texts and lines:
        raise TaskError(f"text source {str(path)!r}: the folder has both .txt and .jsonl files; name one kind's folder")
    if texts:
        return [_read_text(file) for file in texts]
    if lines:
        return [document for file in lines for document in _read_lines(file, field)]
    return None


def _find(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.rglob(pattern), key=lambda file: file.relative_to(folder).as_posix())


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaskError(f"text file {path}: not UTF-8 at byte {error.start}; convert the file") from error
    except OSError as error:
        raise TaskError(f"text file {path}: cannot be read: {error.strerror}") from error


def _cut(text: str) -> list[str]:
    """Cut a text before words into pieces of about equal length."""
    places = [0]
    for piece in range(1, PIECES):
        word = WORD.search(text, len(text) * piece // PIECES)
        places.append(word.start() if word else len(text))
    return [text[start:end] for start, end in zip(places, [*places[1:], len(text)], strict=True)]


def _read_lines(path: Path, field: str) -> list[str]:
    documents = []
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record: Any = json.loads(line)
        except json.JSONDecodeError as error:
            raise TaskError(f"{path}, line {number}: not JSON: {error}") from error
        if not isinstance(record, dict) or not isinstance(record.get(field), str):
            found = f"fields {', '.join(map(str, record))}" if isinstance(record, dict) else type(record).__name__
            raise TaskError(f"{path}, line {number}: no text under the field {field!r} (found {found}); set field")
        documents.append(record[field])
    return documents


def _load_dataset(source: str, field: str, subset: str | None) -> Sequence[str]:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        table = load_dataset(source, subset, split="train")
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        raise TaskError(
            f"text source {source!r}: no .txt or .jsonl files are there, and it cannot be loaded as a data set "
            f"(subset {subset!r}): {type(error).__name__}: {error}"
        ) from error
    feature = table.features.get(field)
    if getattr(feature, "dtype", None) not in ("string", "large_string"):
        raise TaskError(
            f"text source {source!r}: no text column {field!r}; the columns are {', '.join(table.features)}"
        )
    if nulls := table.data.column(field).null_count:
        raise TaskError(f"text source {source!r}: {nulls} of {len(table)} records have no {field!r}; leave them out")
    documents: Sequence[str] = table[field]
    return documents
