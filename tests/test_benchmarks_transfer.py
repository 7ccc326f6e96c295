"""How the benchmark of transfer counts, on searches that are told by hand."""

from __future__ import annotations

import math

import pytest

from tests.benchmarks.transfer import _corner, _networks_until, _parts, _volume
from tests.record_builds import SMALL, Story, measured


def told() -> Story:
    """Two networks are trained; the second one makes the front."""
    story = Story()
    story.record(measured(0, 0.9, 10, 4, role="original"))
    for number, (latency, size) in enumerate([(9, 4), (2, 1), (5, 1)], start=1):
        story.stage("network", f"n{number}", number=number, trained=number < 3)
        recipe = SMALL.replaced(student=("width", {"fraction": number / 8}))
        story.record(measured(number, 0.9, latency, size, recipe=recipe))
    return story


def test_networks_are_counted_up_to_the_first_front_that_is_as_good():
    history = told().history
    assert _corner(history) == pytest.approx([0.8, 11.0, 4.4])
    end = _volume(history, 4)
    assert end == pytest.approx(0.1 * math.log(11 / 2) * math.log(4.4))
    assert _networks_until(history, 0.99 * end) == 2
    assert _networks_until(history, _volume(history, 1)) == 0
    assert _networks_until(history, 1.01 * end) is None


def test_the_parts_are_disjoint_and_hold_every_digit():
    sizes = [len(part) for part in _parts()]
    assert sum(sizes) == 1797
    assert sizes[0] == 1078
