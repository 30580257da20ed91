from __future__ import annotations

from itertools import chain, islice

import pytest

from trainers.order import index_batches


@pytest.mark.parametrize(("count", "size"), [(6, 4), (3, 8), (5, 5), (1, 2)])
def test_batches_run_across_epochs_and_each_epoch_is_a_permutation(count: int, size: int) -> None:
    batches = list(islice(index_batches(count, size, 3), 30))
    assert {len(batch) for batch in batches} == {size}
    order = list(chain.from_iterable(batches))
    for start in range(0, len(order) - count + 1, count):
        assert sorted(order[start : start + count]) == list(range(count))


def test_the_order_is_that_of_its_seed_and_changes_with_the_epoch() -> None:
    first, again, other = (list(islice(index_batches(50, 50, seed), 2)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first[0] != first[1]
