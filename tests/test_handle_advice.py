from __future__ import annotations

from typing import Any

import pytest

from autoopt.handle.advice import bounded_front, recommended
from autoopt.history import History
from autoopt.measurement import Axis
from tests.fakes import AXES, settings
from tests.record_builds import measured

FASTEST, GOOD, SLOW = 1, 2, 3
"""A model that has lost nearly everything, one within a point, and the slowest."""


def history(**changes: Any) -> History:
    records = (
        measured(0, 0.99, 8.0, 40.0),
        measured(FASTEST, 0.11, 0.5, 2.0),
        measured(GOOD, 0.985, 2.0, 10.0),
        measured(SLOW, 0.99, 4.0, 30.0),
    )
    return History(settings=settings(**changes), raw={r.number: r for r in records})


def number(found: History) -> int | None:
    best = recommended(found)
    return None if best is None else best.number


@pytest.mark.parametrize(
    ("constraints", "best"),
    [
        ({}, GOOD),
        ({"size": 20.0}, GOOD),
        ({"latency": "<= 6 ms"}, GOOD),
        ({"accuracy": "<= 0.995"}, GOOD),
        ({"accuracy": 0.05}, FASTEST),
        ({"accuracy": ">= 0.988"}, SLOW),
        ({"size": 5.0}, None),
    ],
)
def test_only_a_bound_of_the_quality_takes_the_place_of_the_usual_limit(constraints, best):
    assert number(history(constraints=constraints)) == best


def test_a_drop_that_the_search_allows_takes_its_place_too():
    assert number(history(max_drop=0.9, constraints={"size": 20.0})) == FASTEST
    assert number(history(max_drop=0.001, constraints={"size": 35.0})) == SLOW


def test_bounds_that_are_asked_for_later_count_like_those_of_the_search():
    found = history()
    assert bounded_front(found, constraints={"size": 20.0}).best("latency").number == GOOD
    assert bounded_front(found, constraints={"accuracy": 0.1}).best("latency").number == FASTEST
    assert bounded_front(found, max_drop=1.0).best("latency").number == FASTEST


def test_a_quality_that_is_minimized_is_bounded_from_above():
    axes = (Axis("accuracy", "", "minimize"), *AXES[1:])
    losses = {0: 0.10, FASTEST: 0.90, GOOD: 0.105, SLOW: 0.10}

    def lossy(constraints: dict[str, str]) -> History:
        found = history(axes=axes, constraints=constraints)
        for place, loss in losses.items():
            figures = found.raw[place].measurement
            assert figures is not None
            latency, size = (figures.stats[axis.name].value for axis in axes[1:])
            found.raw[place] = measured(place, loss, latency, size, axes=axes)
        return found

    assert number(lossy({"size": "<= 20"})) == GOOD
    assert number(lossy({"accuracy": ">= 0.01"})) == GOOD
    assert number(lossy({"accuracy": "<= 0.95"})) == FASTEST
