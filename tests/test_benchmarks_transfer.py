"""How the benchmark of transfer counts, on searches that are told by hand."""

from __future__ import annotations

import math

import pytest

from tests.benchmarks.transfer import _parts, _seen
from tests.record_builds import SMALL, Story, measured


def told(*figures: tuple[float, float], trained: int = 2, original: float = 10) -> Story:
    """Return a search whose first networks are trained."""
    story = Story()
    story.record(measured(0, 0.9, original, 4, role="original"))
    for number, (latency, size) in enumerate(figures, start=1):
        story.stage("network", f"n{number}", number=number, trained=number <= trained)
        recipe = SMALL.replaced(student=("width", {"fraction": number / 8}))
        story.record(measured(number, 0.9, latency, size, recipe=recipe))
    return story


def test_networks_are_counted_up_to_the_first_front_that_is_as_good():
    history = told((9, 4), (2, 1), (5, 1)).history
    seen = _seen(history)
    end = seen.volume(4)
    assert end == pytest.approx(0.1 * math.log(11 / 2) * math.log(4.4))
    assert seen.networks == (0, 1, 2, 2)
    assert seen.networks_until(0.99 * end) == 2
    assert seen.networks_until(seen.volume(1)) == 0
    assert seen.networks_until(1.01 * end) is None


def test_what_both_searches_measured_has_one_figure_relative_to_each_original():
    one, other = told((2, 1)).history, told((4, 1), original=20).history
    # Twice as slow a machine; the same speed-up.
    assert _seen(one, other).volume(2) == pytest.approx(_seen(other, one).volume(2))
    noisy = told((4, 1)).history
    mean = 0.1 * math.log(11 / math.sqrt(8)) * math.log(4.4)
    assert _seen(one, noisy).volume(2) == pytest.approx(mean)
    assert _seen(noisy, one).volume(2) == pytest.approx(mean)


def test_what_breaks_the_bound_on_the_quality_does_not_count():
    story = Story(max_drop=0.01)
    story.record(measured(0, 0.9, 10, 4, role="original"))
    story.record(measured(1, 0.8, 1, 1, recipe=SMALL))
    seen = _seen(story.history)
    assert seen.volume(2) == seen.volume(1)


def test_the_parts_are_disjoint_and_hold_every_digit():
    sizes = [len(part) for part in _parts()]
    assert sum(sizes) == 1797
    assert sizes[0] == 1078
