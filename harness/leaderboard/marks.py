"""The mark of every verdict, the same on the page and in markdown."""

from __future__ import annotations

from harness.comparison import BETTER, SAME, UNDECIDABLE, WORSE

MARKS = {BETTER: "▲", SAME: "≈", WORSE: "▼", UNDECIDABLE: "○"}
"""By verdict, in the order in which they are told."""
