from __future__ import annotations

import json
import math
import pickle
import re
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import (
    NEUTRAL,
    SLOTS,
    STAGES,
    Choice,
    DimensionError,
    Float,
    Int,
    Point,
    PointError,
    SearchSpace,
    SpaceError,
    UnknownNameError,
    balanced,
    quick,
)
from tests.strategies import finite_spaces, narrowings, points_of, spaces


def small(**slots: Any) -> SearchSpace:
    return SearchSpace({**{slot: {NEUTRAL[slot]: {}} for slot in SLOTS}, **slots})


def key(point: Point) -> str:
    return json.dumps(point, sort_keys=True)


def test_slots_are_the_stages_slots_in_order() -> None:
    network = ("student", "pruning", "factorization", "recovery")
    assert (*network, "quantization", "runtime", "parallel") == SLOTS
    assert tuple(slot for slots in STAGES.values() for slot in slots) == SLOTS
    assert tuple(NEUTRAL) == SLOTS


@given(finite_spaces())
def test_size_counts_the_points_and_no_point_comes_twice(space: SearchSpace) -> None:
    points = list(space.points())
    assert space.size == len(points)
    assert all(space.contains(point) for point in points)
    assert len({key(point) for point in points}) == len(points)


@given(spaces(), st.integers(0, 2**32))
def test_sample_is_contained_and_follows_its_seed(space: SearchSpace, seed: int) -> None:
    point = space.sample(Random(seed))
    space.check(point)
    assert space.contains(point)
    assert point == space.sample(Random(seed))
    assert tuple(point) == SLOTS


@given(st.data())
def test_narrow_never_grows(data: st.DataObject) -> None:
    space = data.draw(spaces())
    narrowed = space.narrow(**data.draw(narrowings(space)))
    assert narrowed.size <= space.size
    assert space.contains(data.draw(points_of(narrowed)))


@given(st.data())
def test_fixing_every_slot_to_a_point_leaves_that_point_alone(data: st.DataObject) -> None:
    space = data.draw(spaces())
    point = data.draw(points_of(space))
    fixed = space.fix(**point)
    assert fixed.size == 1
    assert list(fixed.points()) == [point]


@given(st.data())
def test_fixing_one_option_leaves_its_share_of_the_points(data: st.DataObject) -> None:
    space = data.draw(finite_spaces())
    slot = data.draw(st.sampled_from(SLOTS))
    option = data.draw(st.sampled_from(list(space.slots[slot])))
    expected = [point for point in space.points() if point[slot][0] == option]
    assert list(space.fix(**{slot: option}).points()) == expected


@given(st.data())
def test_union_of_two_parts_loses_no_point_and_adds_none(data: st.DataObject) -> None:
    space = data.draw(finite_spaces())
    left = space.narrow(**data.draw(narrowings(space)))
    right = space.narrow(**data.draw(narrowings(space)))
    both = left | right
    assert all(both.contains(point) for part in (left, right) for point in part.points())
    assert all(space.contains(point) for point in both.points())


@given(spaces())
def test_a_space_united_with_itself_is_itself(space: SearchSpace) -> None:
    assert space | space == space


@given(spaces())
def test_pickle_round_trip_is_exact_and_equal_spaces_hash_alike(space: SearchSpace) -> None:
    again = pickle.loads(pickle.dumps(space))
    assert again == space
    assert hash(again) == hash(space)
    assert again.to_yaml() == space.to_yaml()


@given(spaces())
@settings(max_examples=50)
def test_every_usual_setting_lies_in_the_space(space: SearchSpace) -> None:
    for slot, options in space.slots.items():
        for option in options:
            point = {**space.sample(Random(0)), slot: (option, space.usual(slot, option))}
            assert space.contains(point)


def test_narrow_and_extend_are_one_line_each() -> None:
    space = balanced(2)
    assert list(space.narrow(quantization=["static_int8"]).slots["quantization"]) == ["static_int8"]
    assert space.fix(student="none").slots["student"] == {"none": {}}
    more = space.extend(pruning={"magnitude": {"ratio": Choice([0.9])}, "mine": {}})
    assert more.slots["pruning"]["magnitude"]["ratio"].values_list() == [
        0.25, 0.375, 0.5, 0.625, 0.75, 0.9,
    ]  # fmt: skip
    assert list(more.slots["pruning"]) == ["none", "magnitude", "mine"]
    assert more.usual("pruning", "magnitude") == {"ratio": 0.5}
    assert "mine" not in space.slots["pruning"]


def test_narrow_takes_values_and_ranges_and_keeps_the_order_of_the_space() -> None:
    space = balanced(2).narrow(
        student={"width": {"fraction": (0.3, 0.6)}, "none": {}},
        quantization=["static_int8", "float32"],
    )
    assert list(space.slots["student"]) == ["none", "width"]
    assert space.slots["student"]["width"]["fraction"].values_list() == [0.375, 0.5]
    assert list(space.slots["quantization"]) == ["float32", "static_int8"]


def test_fix_settles_named_settings_and_leaves_the_others() -> None:
    settings = balanced(2).fix(recovery=("distill", {"epochs": 12})).slots["recovery"]["distill"]
    assert settings["epochs"].values_list() == [12]
    assert settings["temperature"].size == 2


def test_slots_come_in_canonical_order_and_cannot_be_changed() -> None:
    slots: dict[str, Any] = {slot: {NEUTRAL[slot]: {}} for slot in reversed(SLOTS)}
    space = SearchSpace(slots)
    slots["student"]["later"] = {}
    assert tuple(space.slots) == SLOTS
    assert list(space.slots["student"]) == ["none"]
    with pytest.raises(TypeError):
        space.slots["student"] = {}  # type: ignore[index]  # the point


def test_size_is_exact_beyond_floats_and_infinite_with_a_continuous_setting() -> None:
    wide = {f"s{number}": Int(1, 10**9) for number in range(40)}
    assert small(student={"a": wide}).size == 10**360
    both = small(student={"a": wide}, pruning={"b": {"x": Float(0, 1)}})
    assert both.size == math.inf
    assert "infinitely many" in repr(both)
    assert "about 10^360 points" in repr(small(student={"a": wide}))
    assert small(student={"a": {"x": Int(1, 10**400)}}).describe().endswith("10^400 points")


def test_points_of_a_huge_space_come_one_at_a_time() -> None:
    space = small(student={"a": {"x": Int(1, 10**12)}})
    assert next(iter(space.points()))["student"] == ("a", {"x": 1})


def test_points_of_an_infinite_space_are_refused_at_once() -> None:
    with pytest.raises(SpaceError, match="only a finite space lists its points"):
        small(student={"a": {"x": Float(0, 1)}}).points()


def test_describe_is_an_aligned_table_of_all_settings() -> None:
    text = small(
        student={"none": {}, "width": {"fraction": Choice([0.25, 0.5], usual=0.5)}},
        pruning={"p": {"n": Int(0, 4, step=2), "x": Float(0.1, 1, log=True)}},
    ).describe()
    lines = text.splitlines()
    assert lines[0].split() == ["slot", "option", "setting", "range", "usual", "points"]
    assert lines[2].split() == ["student", "none", "1"]
    assert lines[3].split() == ["width", "fraction", "0.25,", "0.5", "0.5", "2"]
    assert lines[4].split() == ["pruning", "p", "n", "0", "to", "4,", "step", "2", "0", "3"]
    assert lines[5].split() == ["x", "0.1", "to", "1.0,", "log", "0.1", "∞"]
    assert len({len(line) for line in lines[:-2]}) == 1
    assert lines[-1] == "infinitely many points"
    assert "9,360 points" in quick(2).describe()


def test_describe_keeps_a_line_a_row_whatever_the_values_hold() -> None:
    text = small(student={"a": {"x": Choice(["two\nlines", ""])}}).describe()
    assert r"'two\nlines', ''" in text


def test_html_escapes_what_users_wrote() -> None:
    html = small(student={"a": {"x": Choice(["<script>alert('1')</script>"])}})._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_repr_is_short() -> None:
    assert repr(quick(2)) == (
        "<SearchSpace of 9,360 points; options: student 2, pruning 2, "
        "factorization 1, recovery 4, quantization 4, runtime 3, parallel 2>"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runtime": ("nowhere", {})}, "unknown option of slot 'runtime' 'nowhere'; known: eager"),
        ({"engine": ("a", {})}, "unknown slot 'engine'; known: student, pruning"),
        ({"runtime": "eager"}, "must hold (option, settings); runtime: 'eager'"),
        ({"runtime": ("eager", None)}, "settings must be a mapping; runtime.eager: None"),
        ({"pruning": ("magnitude", {})}, "pruning.magnitude.ratio is missing"),
        (
            {"pruning": ("none", {"ratio": 0.5})},
            "unknown setting of pruning.none 'ratio'; known: none",
        ),
        (
            {"pruning": ("magnitude", {"ratio": 0.51})},
            "pruning.magnitude.ratio: 0.51 is not in Choice",
        ),
        ({"runtime": (["eager"], {})}, "unknown option of slot 'runtime' ['eager']"),
    ],
)
def test_check_says_what_is_wrong_with_a_point(change: dict[str, Any], message: str) -> None:
    space = balanced(2)
    point = {**space.sample(Random(0)), **change}
    with pytest.raises(SpaceError, match=re.escape(message)):
        space.check(point)
    assert not space.contains(point)


def test_check_wants_every_slot_of_a_mapping() -> None:
    with pytest.raises(PointError, match="'student' is missing"):
        balanced(2).check({})
    with pytest.raises(PointError, match=r"must map every slot to \(option, settings\); got 3"):
        balanced(2).check(3)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (
            lambda s: s.narrow(engine=["a"]),
            UnknownNameError,
            "unknown slot 'engine'; known: student",
        ),
        (
            lambda s: s.narrow(runtime=["tensorrt"]),
            UnknownNameError,
            "slot 'runtime' 'tensorrt'; known: eager, compiled, onnxruntime, openvino",
        ),
        (
            lambda s: s.narrow(student={"width": {"factor": [0.5]}}),
            UnknownNameError,
            "unknown setting of student.width 'factor'; known: fraction",
        ),
        (
            lambda s: s.narrow(student={"width": {"fraction": [0.1]}}),
            DimensionError,
            "student.width.fraction: unknown value 0.1; known: 0.25, 0.375, 0.5, 0.75",
        ),
        (lambda s: s.narrow(runtime="eager"), SpaceError, "non-empty list of options"),
        (lambda s: s.narrow(runtime=[]), SpaceError, "non-empty list of options"),
        (lambda s: s.narrow(runtime={}), SpaceError, "non-empty list of options"),
        (lambda s: s.narrow(runtime=3), SpaceError, "got runtime=3"),
        (lambda s: s.narrow(runtime=[["eager"]]), UnknownNameError, "['eager']"),
        (lambda s: s.narrow(student={"width": 0.5}), SpaceError, "student.width: 0.5"),
        (lambda s: s.fix(student="tiny"), UnknownNameError, "known: none, width, depth"),
        (lambda s: s.fix(student=["none"]), SpaceError, "for several options use narrow"),
        (lambda s: s.fix(student=("width", 0.5)), SpaceError, "(option, {setting: value})"),
        (
            lambda s: s.fix(student=("width", {"fraction": 0.1})),
            DimensionError,
            "student.width.fraction: unknown value 0.1",
        ),
        (lambda s: s.extend(engine={"a": {}}), UnknownNameError, "unknown slot 'engine'"),
        (lambda s: s.extend(pruning=["a"]), SpaceError, "mapping option -> {setting: dimension}"),
        (lambda s: s.extend(pruning={"a": [1]}), SpaceError, "map settings to dimensions"),
        (lambda s: s.extend(pruning={"magnitude": [1]}), SpaceError, "map settings to dimensions"),
        (lambda s: s.extend(pruning={"a": {"x": [1]}}), SpaceError, "Choice, Int or Float"),
        (
            lambda s: s.extend(pruning={"magnitude": {"ratio": [0.9]}}),
            SpaceError,
            "must be Choice, Int or Float; pruning.magnitude.ratio: [0.9]",
        ),
        (
            lambda s: s.extend(pruning={"magnitude": {"rounds": Choice([1])}}),
            UnknownNameError,
            "unknown setting of pruning.magnitude 'rounds'; known: ratio",
        ),
        (
            lambda s: s.extend(pruning={"magnitude": {"ratio": Float(0, 0.1)}}),
            DimensionError,
            "pruning.magnitude.ratio: two dimensions extend to one only where",
        ),
        (
            lambda s: s | small(student={"width": {}}),
            SpaceError,
            "same settings in both spaces; student.width has ['fraction'] and []",
        ),
        (lambda s: s.usual("student", "tiny"), UnknownNameError, "known: none, width, depth"),
        (lambda s: s.usual("studnet", "none"), UnknownNameError, "unknown slot 'studnet'"),
    ],
)
def test_each_error_states_the_rule_and_what_is_known(
    act: Any, error: type[SpaceError], message: str
) -> None:
    with pytest.raises(error) as caught:
        act(balanced(2))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        ({"student": {"a": {}}}, "every slot must be present; missing pruning, factorization"),
        (3, "a space must map slots to options; got 3"),
        ({"engine": {}}, "unknown slot 'engine'"),
        ({**balanced(2).slots, "student": {}}, "at least one option; student has none"),
        ({**balanced(2).slots, "student": ["a"]}, "map options to their settings; student"),
        ({**balanced(2).slots, "student": {"a b": {}}}, "got 'a b' in slot 'student'"),
        ({**balanced(2).slots, "student": {1: {}}}, "got 1 in slot 'student'"),
        ({**balanced(2).slots, "student": {"a": {"x-y": Choice([1])}}}, "got 'x-y' in student.a"),
        ({**balanced(2).slots, "student": {"a": {"x": 1}}}, "Choice, Int or Float; student.a.x: 1"),
    ],
)
def test_a_malformed_menu_is_refused(slots: Any, message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        SearchSpace(slots)
    assert message in str(caught.value)


def test_unite_with_something_else_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        balanced(2) | 3  # type: ignore[operator]  # the point
