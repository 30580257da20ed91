"""What counts as texts: strings that a tokenizer and a file can take."""

from __future__ import annotations

from collections.abc import Iterable

from metrics.base import MetricError


def check_texts(texts: Iterable[object], whose: str) -> None:
    """Raise MetricError unless all of these are strings that UTF-8 can express.

    Args:
        texts: the texts.
        whose: names them in the message.
    """
    if isinstance(texts, str | bytes):
        raise MetricError(f"{whose} must be a list of texts, got one: {texts[:80]!r}")
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise MetricError(f"{whose} must be strings, got {text!r:.80} at place {place}: decode it first")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise MetricError(f"{whose}: text {place} is no valid Unicode, {error.reason}: {text[:80]!r}") from error
