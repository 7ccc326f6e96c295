from __future__ import annotations

import json
import math
import pickle
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.dimensions import Choice, Dimension, Float, Int, dimension_from_dict, union
from search_spaces.errors import DimensionError, SpaceError
from tests.strategies import continuous_floats, dimensions, finite_dimensions

seeds = st.integers(0, 2**32)


@given(dimensions)
def test_usual_lies_inside(dimension: Dimension) -> None:
    assert dimension.contains(dimension.usual)


@given(dimensions, seeds)
def test_sample_lies_inside(dimension: Dimension, seed: int) -> None:
    assert dimension.contains(dimension.sample(Random(seed)))


@given(finite_dimensions)
def test_size_counts_the_values(dimension: Dimension) -> None:
    values = dimension.values_list()
    assert dimension.size == len(values) == len(list(dimension))
    assert all(dimension.contains(value) for value in values)


@given(dimensions)
def test_dict_round_trip_is_exact_through_json(dimension: Dimension) -> None:
    again = dimension_from_dict(json.loads(json.dumps(dimension.to_dict())))
    assert repr(again) == repr(dimension)
    assert hash(again) == hash(dimension)


@given(dimensions)
def test_pickle_round_trip_is_exact(dimension: Dimension) -> None:
    assert repr(pickle.loads(pickle.dumps(dimension))) == repr(dimension)


@given(dimensions, st.lists(seeds, min_size=1, max_size=3), seeds)
def test_narrowing_to_a_list_keeps_exactly_the_list(
    dimension: Dimension, drawn: list[int], seed: int
) -> None:
    wanted = [dimension.sample(Random(one)) for one in drawn]
    narrowed = dimension.narrow(wanted)
    assert set(narrowed.values_list()) == set(wanted)
    assert dimension.contains(narrowed.sample(Random(seed)))


def _is_between(value: object, low: float, high: float) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and low <= value <= high


def _landmarks(dimension: Dimension, low: float, high: float) -> list[Any]:
    """Values of which one lies in [low, high] if any value does."""
    if math.isfinite(dimension.size):
        return dimension.values_list()
    assert isinstance(dimension, Float)
    return [min(max(low, dimension.low), dimension.high)]


@given(st.one_of(finite_dimensions, continuous_floats()), st.data())
def test_narrowing_to_a_range_never_grows(dimension: Dimension, data: st.DataObject) -> None:
    low = data.draw(st.floats(-100, 100))
    high = data.draw(st.floats(low, 100))
    if not any(_is_between(value, low, high) for value in _landmarks(dimension, low, high)):
        with pytest.raises(DimensionError, match="must leave a value"):
            dimension.narrow((low, high))
        return
    narrowed = dimension.narrow((low, high))
    assert narrowed.size <= dimension.size
    value: Any = narrowed.sample(Random(0))
    assert low <= value <= high
    assert dimension.contains(value)


@given(finite_dimensions, finite_dimensions)
def test_union_holds_exactly_the_values_of_both(left: Dimension, right: Dimension) -> None:
    both = [*left, *right]
    if len(set(both)) < len({(value, isinstance(value, bool)) for value in both}):
        return  # 1 and True cannot be told apart in one choice
    merged = union(left, right)
    assert set(merged) == set(both)
    assert merged.usual == left.usual


def test_union_of_overlapping_ranges_stays_a_range() -> None:
    assert union(Int(1, 5, usual=3), Int(4, 9)) == Int(1, 9, usual=3)
    assert union(Int(1, 4), Int(5, 9)) == Int(1, 9)
    assert union(Float(0.1, 0.5), Float(0.4, 1)) == Float(0.1, 1.0)
    assert union(Float(0, 1), Choice([0.5])) == Float(0.0, 1.0)
    assert union(Choice([0.5]), Float(0, 1)) == Float(0.0, 1.0, usual=0.5)
    assert union(Float(0.1, 0.3, step=0.1), Float(0.4, 0.5, step=0.1)).size == 5


def test_union_takes_equal_numbers_of_two_kinds_as_one() -> None:
    assert union(Int(0, 1), Float(0, 0.5, step=0.5)) == Choice([0, 0.5, 1])


def test_union_sorts_numbers_that_were_ascending_and_appends_others() -> None:
    assert union(Choice([1, 4]), Choice([2])) == Choice([1, 2, 4])
    assert union(Choice([8, 4]), Choice([2])) == Choice([8, 4, 2])
    assert union(Choice(["b"]), Choice(["a", "b"])) == Choice(["b", "a"])


@pytest.mark.parametrize(
    ("left", "right"),
    [(Float(0, 1), Float(2, 3)), (Float(0, 1), Choice([2])), (Int(0, 10**9), Int(0, 9, step=3))],
)
def test_union_that_no_dimension_can_hold_is_refused(left: Dimension, right: Dimension) -> None:
    with pytest.raises(DimensionError, match="one unbroken range or a choice of at most 10,000"):
        union(left, right)


def test_float_grid_holds_the_decimals_that_were_written() -> None:
    assert Float(0.1, 0.5, step=0.1).values_list() == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert Float(0.1, 0.5, step=0.1).contains(0.3)
    assert not Float(0.1, 0.5, step=0.1).contains(0.35)


def test_a_range_that_starts_just_above_a_value_leaves_that_value_out() -> None:
    assert Int(-1, 1).narrow((1e-170, 1.0)) == Int(1, 1)
    assert Int(-1, 1).narrow((np.float32(0.5), np.int64(1))) == Int(1, 1)


def test_continuous_float_is_infinite_and_has_no_list() -> None:
    assert Float(0, 1).size == math.inf
    assert Float(1, 1).size == 1
    with pytest.raises(DimensionError, match="continuous range has no list"):
        Float(0, 1).values_list()


def test_usual_is_the_first_value_or_the_low_end_by_default() -> None:
    assert Choice(["b", "a"]).usual == "b"
    assert Int(3, 9).usual == 3
    assert Float(0.5, 1).usual == 0.5


def test_usual_moves_to_the_nearest_value_that_is_left() -> None:
    assert Choice([1, 2, 4, 8], usual=8).narrow([1, 4]).usual == 4
    assert Choice(["a", "b", "c"], usual="c").narrow(["b", "a"]).usual == "a"
    assert Int(0, 10, step=5, usual=10).narrow((0, 9)) == Int(0, 5, step=5, usual=5)
    assert Float(0, 1, usual=0.9).narrow([0.1, 0.5]) == Choice([0.1, 0.5], usual=0.5)
    assert Choice([8, 4], usual=4).narrow([4, 8]).usual == 4


def test_numbers_are_equal_across_types_but_truth_values_are_not_numbers() -> None:
    assert Choice([2.0, 4.0]).contains(4)
    assert Choice([2.0, 4.0]).narrow([4]).values_list() == [4.0]
    assert type(Choice([2.0, 4.0], usual=4).usual) is float
    assert not Choice([1, 2]).contains(True)
    assert not Int(0, 5).contains(True)
    assert not Choice([True, False]).contains(1)


def test_numpy_scalars_become_plain_ones() -> None:
    choice = Choice([np.int64(2), np.int64(3)], usual=np.int64(3))  # type: ignore[list-item, arg-type]  # the point
    assert [type(value) for value in (*choice, choice.usual)] == [int, int, int]
    assert type(Int(np.int32(1), 4).low) is int  # type: ignore[arg-type]  # the point
    assert type(Float(np.float64(0.5), 4).low) is float
    assert Int(1, 4).contains(np.int64(4))
    assert type(Int(1, 4).narrow([np.int64(4)]).usual) is int
    assert Float(0, 1).contains(np.float32(0.5))


@pytest.mark.parametrize("value", [None, [1], math.nan, math.inf, 1j, 10**400])
def test_what_is_no_scalar_lies_nowhere(value: object) -> None:
    assert not Choice([1, "a"]).contains(value)
    assert not Int(0, 5).contains(value)
    assert not Float(0, 5).contains(value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Choice([]), "at least one value; got []"),
        (lambda: Choice("abc"), "must be a list; got 'abc'"),
        (lambda: Choice([1, 2, 1]), "must differ; got [1, 2, 1]"),
        (lambda: Choice([None]), "a string, a finite number or a bool; got None"),  # type: ignore[list-item]  # the point
        (lambda: Choice([1, 2], usual=3), "usual must lie inside; got usual=3"),
        (lambda: Int(5, 1), "low must not exceed high; got low=5, high=1"),
        (lambda: Int(1.5, 3), "low of an Int must be a whole number; got 1.5"),  # type: ignore[arg-type]  # the point
        (lambda: Int(0, 4, step=3), "whole steps above low; got low=0, high=4, step=3"),
        (lambda: Int(0, 4, step=0), "at least 1, and 1 in a log range; got step=0"),
        (lambda: Int(1, 5, step=2, log=True), "got step=2, log=True"),
        (lambda: Int(0, 4, log=True), "a log range must start above 0; got low=0"),
        (lambda: Int(0, 4, log=1), "log must be True or False; got 1"),  # type: ignore[arg-type]  # the point
        (lambda: Int(0, 4, usual=5), "usual must lie inside; got usual=5"),
        (lambda: Float(0, math.inf), "high of a Float must be a finite number; got inf"),
        (lambda: Float(0, 10**400), "high of a Float must be a finite number; got 1000"),
        (lambda: Float(0, 1, step=0.3), "whole steps above low; got low=0.0, high=1.0, step=0.3"),
        (lambda: Float(0, 1, step=0), "a distance that floats resolve"),
        (lambda: Float(0, 1e16, step=0.1), "at least 2.0 here); got step=0.1"),
        (lambda: Float(0.1, 1, step=0.1, log=True), "step must be None in a log range"),
        (lambda: Float(0, 1, usual=2), "usual must lie inside; got usual=2.0"),
        (lambda: Choice([1, 2]).narrow([3]), "unknown value 3; known: 1, 2"),
        (lambda: Choice([1, 2]).narrow([]), "narrow takes a non-empty list"),
        (lambda: Choice(["ab"]).narrow("ab"), "non-empty list of values or a tuple"),
        (lambda: Choice([1, 2]).narrow((3, 4)), "(3, 4) leaves none of Choice"),
        (lambda: Choice(["a"]).narrow((0, 1)), "(0, 1) leaves none of Choice"),
        (lambda: Choice(["a"]).narrow(("a", "b")), "must be (low, high), two finite numbers"),
        (lambda: Int(0, 4).narrow([5]), "value 5 does not lie in Int("),
        (lambda: Int(0, 4, step=2).narrow((1, 1)), "(1, 1) leaves none of Int"),
        (lambda: Float(0, 1).narrow((2, 3)), "(2, 3) leaves none of Float"),
        (lambda: Float(0, 1, step=0.5).narrow((0.1, 0.4)), "leaves none of Float"),
        (lambda: dimension_from_dict({}), "a dimension must be {choice: [...]}"),
        (lambda: dimension_from_dict({"int": [1, 2], "float": [1, 2]}), "a dimension must be"),
        (lambda: dimension_from_dict({"int": [1, 2], "stp": 1}), "'stp': 1"),
        (lambda: dimension_from_dict({"int": 3}), "must be [low, high]; got 3"),
    ],
)
def test_each_error_states_the_rule_and_the_values(make: Any, message: str) -> None:
    with pytest.raises(DimensionError) as caught:
        make()
    assert message in str(caught.value)
    assert isinstance(caught.value, SpaceError)
    assert isinstance(caught.value, ValueError)


def test_log_ranges_give_every_order_of_magnitude_its_share() -> None:
    random = Random(0)
    low = sum(Float(1e-4, 1, log=True).sample(random) < 1e-2 for _ in range(2000))
    assert 900 < low < 1100
    small = sum(Int(1, 1000, log=True).sample(random) < 32 for _ in range(2000))
    assert 950 < small < 1200
