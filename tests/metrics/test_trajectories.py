import pandas as pd
import pytest

from metrics.base import MetricContext, MetricError
from metrics.trajectories import Trajectories


def measure(**columns):
    return Trajectories().compute(pd.DataFrame(columns), MetricContext())


def test_without_backspace_every_action_counts():
    statistics = measure(
        completion_ids=[[1, 2, 3], [1], []], finish=["length", "eos", "eos"], n_actions=[3, 2, 1], n_backspaces=[0] * 3
    )
    assert statistics["actions_per_token"] == 1
    assert statistics["backspace_rate"] == 0
    assert statistics["erased_share"] == 0
    assert statistics["finished_share"] == pytest.approx(2 / 3)


def test_rates_are_pooled_over_actions_not_averaged_over_texts():
    statistics = measure(completion_ids=[[1], []], finish=["actions"] * 2, n_actions=[9, 2], n_backspaces=[4, 1])
    assert statistics["backspace_rate"] == pytest.approx(5 / 11)
    assert statistics["actions_per_token"] == 11
    assert statistics["erased_share"] == 1


def test_a_walk_that_kept_nothing_has_no_price_per_token():
    statistics = measure(completion_ids=[[]], finish=["actions"], n_actions=[4], n_backspaces=[2])
    assert "actions_per_token" not in statistics
    assert statistics["length_mean"] == 0


def test_no_action_is_an_error():
    with pytest.raises(MetricError, match="at least one action"):
        measure(completion_ids=[[]], finish=["actions"], n_actions=[0], n_backspaces=[0])
