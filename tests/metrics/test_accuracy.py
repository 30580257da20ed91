import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from metrics.accuracy import Accuracy
from metrics.base import MetricContext

SPACE = st.text(" \n\t", max_size=3)


def measure(completions, references):
    table = pd.DataFrame({"completion": completions, "reference": references})
    return Accuracy().compute(table, MetricContext())["accuracy"]


@given(st.text("0123-", max_size=4), st.text("0123-", max_size=4), SPACE, SPACE)
def test_only_outer_white_space_is_ignored(written, wanted, before, after):
    assert measure([before + written + after], [wanted]) == (written == wanted)
    assert measure([before + written + after], [written]) == 1


def test_inner_space_case_and_prefixes_count():
    assert measure(["1 2", "a", "12", "", "7"], ["12", "A", "123", "0", "7"]) == 0.2
