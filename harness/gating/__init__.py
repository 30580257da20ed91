"""The parts of the regression gate ``harness.gate``: margins, pairs, verdicts, and how they are written down."""
