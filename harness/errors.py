"""Errors that a user can act on: one message, no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """What went wrong, where, and what to do; the command line prints it and exits with 2."""


class StudyError(HarnessError):
    """A study, or what it names, cannot be run as written; nothing has been trained."""


class RegistryError(StudyError):
    """A trainer, task or metric is unknown, ambiguous or broken."""


class AssetError(StudyError):
    """An asset is unknown, or has not been fetched."""


class RequestError(HarnessError):
    """What is asked of results makes no sense as written."""


class StoreError(HarnessError):
    """A results folder cannot be read or written."""


class ComparisonError(HarnessError):
    """A table of results cannot be compared as asked."""


def suggestion(name: str, valid: Iterable[str]) -> str:
    """The nearest valid name, then all of them, as the end of an error message."""
    names = sorted(valid)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{hint} (valid: {', '.join(names)})" if names else f"{hint} (there are none)"


def one_line(error: BaseException) -> str:
    """An exception as the end of an error message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
