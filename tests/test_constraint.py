from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.constraint import Constraint, drop_constraint, parse_constraints
from autoopt.errors import ConstraintError, UnknownNameError
from autoopt.measurement import Axis
from tests.record_builds import ACCURACY, AXES, SIZE, failed, measured

ERROR = Axis("error", "", "minimize")


@pytest.mark.parametrize(
    ("name", "wanted", "text"),
    [
        ("latency", 8, "latency <= 8"),
        ("latency", 8.5, "latency <= 8.5"),
        ("accuracy", 0.98, "accuracy >= 0.98"),
        ("size", "<= 20 MB", "size <= 20"),
        ("size", "<=20MB", "size <= 20"),
        ("size", "  >=   .5  ", "size >= 0.5"),
        ("latency", "<= 1e-3 ms", "latency <= 0.001"),
        ("accuracy", "<= 0.5", "accuracy <= 0.5"),
    ],
)
def test_constraints_are_read_as_they_are_written(name: str, wanted: float | str, text: str):
    assert [str(item) for item in parse_constraints({name: wanted}, AXES)] == [text]


@pytest.mark.parametrize("wanted", [None, {}])
def test_no_constraint_is_none(wanted: dict | None):
    assert parse_constraints(wanted, AXES) == ()


def test_several_constraints_keep_their_order():
    parsed = parse_constraints({"size": 2, "accuracy": ">= 0.9", "latency": 5}, AXES)
    assert [item.objective for item in parsed] == ["size", "accuracy", "latency"]


def test_an_objective_that_is_not_searched_is_refused_with_those_that_are():
    with pytest.raises(UnknownNameError, match=r"'speed'; known: accuracy, latency, size"):
        parse_constraints({"speed": 8}, AXES)


@pytest.mark.parametrize("text", ["8", "< 8", "= 8", "<= ", "<= eight", "<= 8 ms please", "<= e"])
def test_what_is_no_constraint_is_shown_with_the_form_it_must_have(text: str):
    with pytest.raises(ConstraintError, match=r"read '<= number' or '>= number', but 'latency'"):
        parse_constraints({"latency": text}, AXES)


@pytest.mark.parametrize("bound", [math.nan, math.inf, -math.inf, "<= 1.2.3", "<= 1e999", None])
def test_a_bound_that_is_no_finite_number_is_refused(bound: float | str):
    with pytest.raises(ConstraintError, match="must be a finite number, but 'latency' has"):
        parse_constraints({"latency": bound}, AXES)


@pytest.mark.parametrize(
    ("name", "text", "unit"),
    [("latency", "<= 8 s", "ms"), ("size", "<= 1 GB", "MB"), ("accuracy", ">= 98 %", "no unit")],
)
def test_a_bound_in_another_unit_is_refused_and_not_read_as_ours(name: str, text: str, unit: str):
    with pytest.raises(ConstraintError, match=f"a bound of {name!r} must be in {unit}, but got"):
        parse_constraints({name: text}, AXES)


def test_a_violation_says_by_how_much_the_bound_is_broken():
    record = measured(1, 0.9, 10.0, 2.0)
    assert Constraint("latency", "<=", 8.0).violation(record) == 2.0
    assert Constraint("latency", "<=", 12.0).violation(record) == -2.0
    assert Constraint("accuracy", ">=", 0.95).violation(record) == pytest.approx(0.05)
    assert Constraint("size", "<=", 2.0).violation(record) == 0.0


def test_a_record_without_the_figure_breaks_the_bound_without_limit():
    bound = Constraint("memory", "<=", 100.0)
    assert bound.violation(failed(1)) == math.inf
    assert bound.violation(measured(1, 0.9, 10.0, 2.0)) == math.inf


@given(st.integers(1, 5000), st.data())
def test_a_drop_of_exactly_what_is_allowed_keeps_the_bound(samples: int, data: st.DataObject):
    right = data.draw(st.integers(0, samples))
    lost = data.draw(st.integers(0, right))
    bound = drop_constraint(
        ACCURACY, measured(0, right / samples, 1.0, 1.0), max_drop=lost / samples
    )
    assert bound is not None
    assert bound.violation(measured(1, (right - lost) / samples, 1.0, 1.0)) <= 0
    assert bound.violation(measured(2, (right - lost - 0.5) / samples, 1.0, 1.0)) > 0


@pytest.mark.parametrize(("original", "kept", "lost"), [(0.99, 0.98, 0.979), (0.13, 0.12, 0.119)])
def test_one_point_less_is_within_one_point(original: float, kept: float, lost: float):
    bound = drop_constraint(ACCURACY, measured(0, original, 1.0, 1.0), 0.01)
    assert bound is not None
    assert bound.violation(measured(1, kept, 1.0, 1.0)) <= 0
    assert bound.violation(measured(1, lost, 1.0, 1.0)) > 0


def test_what_the_slack_of_a_drop_is_for():
    assert 0.13 - 0.01 > 0.12


def test_a_metric_to_minimise_may_rise_by_the_drop():
    axes = (ERROR, SIZE)
    bound = drop_constraint(ERROR, measured(0, 0.1, 1.0, axes=axes), 0.2)
    assert bound is not None
    assert bound.sense == "<="
    assert bound.violation(measured(1, 0.3, 1.0, axes=axes)) <= 0
    assert bound.violation(measured(1, 0.05, 1.0, axes=axes)) <= 0
    assert bound.violation(measured(1, 0.31, 1.0, axes=axes)) > 0


def test_there_is_no_drop_before_the_original_is_measured():
    assert drop_constraint(ACCURACY, failed(0), 0.01) is None
