from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from autoopt.constraint import Constraint
from autoopt.errors import ConstraintError, UnknownNameError
from autoopt.front import Front
from autoopt.recipe import Recipe
from autoopt.record import Record
from tests.record_builds import ACCURACY, AXES, LATENCY, SIZE, SMALL, failed, measured

# Few values, so that ties and equal records come often.
figures = st.tuples(st.integers(0, 4), st.integers(1, 5), st.integers(1, 5))
REFERENCE = (-1.0, 9.0, 9.0)

quickly = hypothesis_settings(max_examples=60)


def numbered(points: list[tuple[int, int, int]]) -> tuple[Record, ...]:
    return tuple(measured(number, *point) for number, point in enumerate(points))


record_sets = st.lists(figures, max_size=12).map(numbered)


def cost(record: Record) -> tuple[float, ...]:
    """One figure an axis, less being better."""
    assert record.measurement is not None
    return tuple(axis.sign * record.measurement.stats[axis.name].value for axis in AXES)


def dominates(one: Record, other: Record) -> bool:
    pairs = list(zip(cost(one), cost(other), strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def numbers(front: Front) -> list[int]:
    return [record.number for record in front.members]


# ------------------------------------------------------------------ members


@quickly
@given(record_sets)
def test_no_member_dominates_another_and_none_is_there_twice(records: tuple[Record, ...]):
    members = Front(records, AXES).members
    assert not any(dominates(one, other) for one in members for other in members)
    assert len({cost(member) for member in members}) == len(members)


@quickly
@given(record_sets)
def test_whoever_is_no_member_is_dominated_by_one_or_equal_to_one(records: tuple[Record, ...]):
    members = Front(records, AXES).members
    for record in set_minus(records, members):
        assert any(dominates(m, record) or cost(m) == cost(record) for m in members)


def set_minus(records: tuple[Record, ...], members: tuple[Record, ...]) -> list[Record]:
    kept = {member.number for member in members}
    return [record for record in records if record.number not in kept]


@quickly
@given(record_sets.filter(bool), st.data())
def test_a_dominated_record_changes_nothing(records: tuple[Record, ...], data: st.DataObject):
    front = Front(records, AXES)
    accuracy, latency, size = cost(data.draw(st.sampled_from(front.members)))
    worse = measured(99, -accuracy, latency, size + data.draw(st.integers(0, 3)))
    more = replace(front, records=(*records, worse))
    assert more.members == front.members
    assert more.knee == front.knee
    assert more.hypervolume(REFERENCE) == front.hypervolume(REFERENCE)


@quickly
@given(record_sets, st.randoms(use_true_random=False))
def test_the_order_of_the_records_does_not_matter(records: tuple[Record, ...], random):
    front = Front(records, AXES)
    shuffled = list(records)
    random.shuffle(shuffled)
    turned = Front(tuple(shuffled), AXES)
    assert {cost(m) for m in turned.members} == {cost(m) for m in front.members}
    assert turned.hypervolume(REFERENCE) == pytest.approx(front.hypervolume(REFERENCE))


@given(record_sets)
def test_members_come_fastest_first(records: tuple[Record, ...]):
    latencies = [cost(member)[1] for member in Front(records, AXES).members]
    assert latencies == sorted(latencies)


def test_of_records_with_the_same_figures_the_first_measured_stays():
    records = numbered([(3, 2, 2), (3, 2, 2), (4, 3, 3), (4, 3, 3)])
    assert numbers(Front(records, AXES)) == [0, 2]


def test_each_axis_is_followed_in_its_own_direction():
    records = (measured(0, 0.9, 10.0, 2.0), measured(1, 0.8, 10.0, 2.0), measured(2, 0.95, 5.0, 1))
    assert numbers(Front(records, AXES)) == [2]
    turned = tuple(
        replace(a, direction="maximize" if a.direction == "minimize" else "minimize") for a in AXES
    )
    assert numbers(Front(records, turned)) == [1]


def test_a_single_objective_has_its_best_as_the_front():
    records = tuple(measured(n, v, axes=(LATENCY,)) for n, v in enumerate([5.0, 3.0, 4.0, 3.0]))
    front = Front(records, (LATENCY,))
    assert numbers(front) == [1]
    assert front.knee == records[1]
    assert front.best("latency") == records[1]
    assert front.hypervolume([10.0]) == pytest.approx(7.0)


def test_failures_and_half_measured_records_are_passed_over():
    half = measured(2, 0.9, 1.0, axes=(ACCURACY, LATENCY))
    front = Front((failed(0), measured(1, 0.9, 10.0, 2.0), half), AXES)
    assert [record.number for record in front.measured] == [1]
    assert numbers(front) == [1]


@pytest.mark.parametrize("records", [(), (failed(0),)])
def test_without_a_measurement_the_front_is_empty(records: tuple[Record, ...]):
    front = Front(records, AXES)
    assert front.members == ()
    assert front.knee is None
    assert front.hypervolume(REFERENCE) == 0.0
    with pytest.raises(ConstraintError, match="no strategy was measured yet"):
        front.best("latency")


# ------------------------------------------------------------------ constraints


@quickly
@given(record_sets, st.integers(0, 4), st.integers(1, 5))
def test_the_front_under_constraints_is_that_of_the_records_that_keep_them(
    records: tuple[Record, ...], accuracy: int, latency: int
):
    bounds = (Constraint("accuracy", ">=", accuracy), Constraint("latency", "<=", latency))
    front = Front(records, AXES, bounds)
    keeping = tuple(r for r in records if -cost(r)[0] >= accuracy and cost(r)[1] <= latency)
    assert [record for record in records if front.feasible(record)] == list(keeping)
    assert front.members == Front(keeping, AXES).members


def test_a_violation_is_relative_to_its_bound_and_the_largest_counts():
    bounds = (Constraint("latency", "<=", 8.0), Constraint("accuracy", ">=", 0.5))
    front = Front((), AXES, bounds)
    assert front.violation(measured(1, 0.9, 10.0, 2.0)) == pytest.approx(0.25)
    assert front.violation(measured(1, 0.25, 10.0, 2.0)) == pytest.approx(0.5)
    assert front.violation(measured(1, 0.5, 8.0, 2.0)) == 0
    assert front.violation(failed(1)) == float("inf")
    assert Front((), AXES).violation(failed(1)) == 0


def test_a_bound_of_zero_is_kept_and_broken_like_any_other():
    front = Front((), AXES, (Constraint("accuracy", ">=", 0.0),))
    assert front.feasible(measured(1, 0.0, 1.0, 1.0))
    assert not front.feasible(measured(1, -0.1, 1.0, 1.0))


# ------------------------------------------------------------------ best, knee, hypervolume


@quickly
@given(record_sets.filter(bool), st.sampled_from(AXES))
def test_the_best_in_an_objective_is_a_member_that_nothing_beats(records: tuple[Record, ...], axis):
    front = Front(records, AXES)
    place = AXES.index(axis)
    best = front.best(axis.name)
    assert best in front.members
    assert cost(best)[place] == min(cost(record)[place] for record in records)


def test_among_equals_in_one_objective_the_others_decide():
    slow, fast = measured(0, 0.9, 10.0, 2.0), measured(1, 0.9, 5.0, 2.0)
    assert Front((slow, fast), AXES).best("size") == fast


def test_when_nothing_is_feasible_the_error_names_the_nearest_and_what_it_breaks():
    records = (measured(3, 0.90, 10.0, 2.0), measured(4, 0.85, 9.0, 1.0, recipe=SMALL))
    bounds = (Constraint("latency", "<=", 8.0), Constraint("accuracy", ">=", 0.8))
    with pytest.raises(ConstraintError) as caught:
        Front(records, AXES, bounds).best("size")
    assert str(caught.value) == (
        "none of 2 measured strategies satisfies latency <= 8 and accuracy >= 0.8; the nearest is "
        f"number 4 ({SMALL.summary}: accuracy 0.85, latency 9 ms, size 1 MB), which breaks "
        "latency <= 8. Loosen that bound or search longer."
    )


def test_before_the_first_measurement_the_error_says_so():
    front = Front((), AXES, (Constraint("latency", "<=", 8.0),))
    with pytest.raises(ConstraintError, match=r"measured yet, so none satisfies latency <= 8$"):
        front.best("latency")


def test_an_objective_that_is_not_searched_is_refused_with_those_that_are():
    front = Front((measured(0, 0.9, 10.0, 2.0),), AXES)
    with pytest.raises(UnknownNameError, match=r"objective 'memory'; known: accuracy, latency"):
        front.best("memory")


@quickly
@given(record_sets.filter(bool))
def test_the_knee_is_a_member(records: tuple[Record, ...]):
    front = Front(records, AXES)
    assert front.knee in front.members


def test_the_knee_is_the_bend_whatever_the_units():
    axes = (LATENCY, SIZE)
    points = [(1.0, 100.0), (2.0, 10.0), (10.0, 9.0)]
    for factor in (1.0, 1e6):
        records = tuple(
            measured(number, latency, size * factor, axes=axes)
            for number, (latency, size) in enumerate(points)
        )
        knee = Front(records, axes).knee
        assert knee is not None
        assert knee.number == 1


@quickly
@given(record_sets)
def test_by_contribution_holds_every_member_once(records: tuple[Record, ...]):
    front = Front(records, AXES)
    for free in (lambda _: True, lambda _: False):
        ordered = front.by_contribution(free)
        assert sorted(record.number for record in ordered) == sorted(numbers(front))


def test_by_contribution_goes_network_by_network():
    """Ratios of costs count: what is a tenth as large is worth as much at every scale."""

    def made(number: int, width: float, latency: float, size: float, accuracy: float) -> Record:
        student = ("width", {"fraction": width}) if width else ("none", {})
        recipe = Recipe.of({"student": student, "parallel": ("default", {"n": number})})
        return replace(measured(number, accuracy, latency, size), recipe=recipe)

    records = (
        made(0, 0, 1000.0, 100.0, 0.99),
        made(1, 0.5, 10.0, 12.0, 0.95),
        made(2, 0.5, 9.0, 13.0, 0.95),
        made(3, 0.25, 1.0, 1.0, 0.9),
        made(4, 0.25, 1.1, 0.9, 0.9),
        made(5, 0, 100.0, 90.0, 0.98),
    )
    front = Front(records, AXES)
    assert len(front.members) == 6
    found = front.by_contribution(lambda record: record.recipe["student"].option == "none")
    order = [record.number for record in found]
    assert set(order[:2]) == {0, 5}
    assert set(order[2:4]) == {3, 4}  # the smallest network is worth most
    assert set(order[4:]) == {1, 2}


@quickly
@given(record_sets, figures)
def test_the_hypervolume_never_shrinks_and_grows_with_a_new_member(
    records: tuple[Record, ...], point: tuple[int, int, int]
):
    front = Front(records, AXES)
    new = measured(99, *point)
    more = replace(front, records=(*records, new))
    before, after = front.hypervolume(REFERENCE), more.hypervolume(REFERENCE)
    assert after >= before
    assert (after > before) is (new in more.members)


def test_the_hypervolume_is_that_of_the_boxes():
    front = Front((measured(0, 0.5, 2.0, 1.0), measured(1, 0.9, 4.0, 1.0)), AXES)
    # Accuracy above 0, latency below 10, size below 2.
    assert front.hypervolume((0.0, 10.0, 2.0)) == pytest.approx(0.5 * 8 + 0.4 * 6)


def test_what_lies_beyond_the_reference_adds_nothing():
    assert Front((measured(0, 0.5, 20.0, 1.0),), AXES).hypervolume((0.0, 10.0, 2.0)) == 0.0
