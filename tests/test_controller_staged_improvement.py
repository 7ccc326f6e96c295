"""What a point adds to the hypervolume, against a library that computes the whole volume."""

from __future__ import annotations

import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autoopt.controller.staged.improvement import Boxes, complementary

quickly = settings(max_examples=80, deadline=None)

# A coarse grid makes ties and dominated points common.
coordinates = st.integers(0, 8).map(lambda step: step / 8)


@st.composite
def fronts(draw: st.DrawFn):
    axes = draw(st.integers(1, 4))
    points = draw(arrays(float, (draw(st.integers(0, 12)), axes), elements=coordinates))
    more = draw(arrays(float, (4, axes), elements=coordinates))
    return points, more


def volume(points: np.ndarray) -> float:
    inside = points[(points < 1).all(axis=1)]
    return float(moocore.hypervolume(inside, ref=np.ones(points.shape[1]))) if len(inside) else 0.0


@quickly
@given(fronts())
def test_the_gain_of_a_point_is_the_difference_of_two_hypervolumes(case) -> None:
    points, more = case
    gains = Boxes.around(points, np.ones(points.shape[1])).gain(more)
    for point, gain in zip(more, gains, strict=True):
        assert gain == pytest.approx(volume(np.vstack([points, point])) - volume(points), abs=1e-12)


@quickly
@given(fronts())
def test_points_chosen_to_complement_each_other_add_no_more_than_they_add_together(case) -> None:
    points, more = case
    boxes = Boxes.around(points, np.ones(points.shape[1]))
    chosen = complementary(boxes, more, boxes.gain(more), 3)
    assert len({index for index, _ in chosen}) == len(chosen) <= 3
    together = volume(np.vstack([points, more[[index for index, _ in chosen]]])) - volume(points)
    # The first is exact; two that overlap are subtracted once, so that no pair counts double.
    assert sum(worth for _, worth in chosen[:2]) <= together + 1e-12
    assert [worth for _, worth in chosen] == sorted((w for _, w in chosen), reverse=True)


def test_a_twin_of_a_chosen_point_is_worth_nothing() -> None:
    boxes = Boxes.around(np.zeros((0, 2)), np.ones(2))
    points = np.array([[0.5, 0.5], [0.5, 0.5], [0.1, 0.9]])
    chosen = complementary(boxes, points, boxes.gain(points), 3)
    assert [index for index, _ in chosen] == [0, 2]


def test_any_shape_of_points_is_answered_in_that_shape() -> None:
    boxes = Boxes.around(np.array([[0.5, 0.5, 0.5]]), np.ones(3))
    assert boxes.gain(np.zeros((4, 5, 3))).shape == (4, 5)
    assert boxes.gain(np.zeros((4, 5, 3)))[0, 0] == pytest.approx(1 - 0.125)
