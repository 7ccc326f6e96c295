from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autoopt.task.split import HALVES, SIXTY_TWENTY_TWENTY, split

patterns = st.sampled_from([SIXTY_TWENTY_TWENTY, HALVES])


@given(
    classes=st.lists(st.integers(0, 5), min_size=2, max_size=200),
    pattern=patterns,
    seed=st.integers(0, 9),
)
def test_parts_are_disjoint_complete_and_hold_their_share_of_every_class(classes, pattern, seed):
    values = np.array(classes)
    parts = split(len(values), pattern, seed=seed, classes=values)
    assert sorted(row for part in parts for row in part) == list(range(len(values)))
    for number, part in enumerate(parts):
        share = pattern.count(number) / len(pattern)
        assert abs(len(part) - share * len(values)) <= 1.5
        for kind in set(classes):
            there = int((values[part] == kind).sum())
            assert abs(there - share * classes.count(kind)) <= 2


@given(length=st.integers(2, 200), pattern=patterns, seed=st.integers(0, 9))
def test_a_split_without_classes_is_disjoint_and_complete_and_follows_the_seed(
    length, pattern, seed
):
    parts = split(length, pattern, seed=seed)
    assert parts == split(length, pattern, seed=seed)
    assert sorted(row for part in parts for row in part) == list(range(length))


def test_another_seed_is_another_split_in_shuffled_order():
    first, second = (split(100, SIXTY_TWENTY_TWENTY, seed=seed)[0] for seed in (0, 1))
    assert set(first) != set(second)
    assert first != sorted(first)
