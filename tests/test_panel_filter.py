import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.panel.filter import parse_filter, passes
from tests.panel_rows import failed_row, make_row


def test_an_empty_filter_is_filled_and_lets_everything_pass():
    wanted = parse_filter({})
    assert wanted == {"bounds": {}, "choices": {}, "front": False, "text": ""}
    assert passes(make_row(1), wanted)


def test_a_failed_trial_never_passes():
    assert not passes(failed_row(1), parse_filter({}))


@pytest.mark.parametrize(
    ("given_filter", "kept"),
    [
        ({"bounds": {"latency": [None, 2.0]}}, True),
        ({"bounds": {"latency": [None, 1.9]}}, False),
        ({"bounds": {"accuracy": [0.99, None], "size": [1, 1]}}, True),
        ({"bounds": {"energy": [0, None]}}, False),
        ({"choices": {"runtime": ["openvino", "eager"]}}, True),
        ({"choices": {"runtime": ["eager"]}}, False),
        ({"choices": {"pruning.keep": [None]}}, True),
        ({"choices": {"pruning.keep": [0.5]}}, False),
        ({"text": "STRATEGY 1"}, True),
        ({"text": "#1"}, True),
        ({"text": "#2"}, False),
    ],
)
def test_bounds_choices_and_text_decide(given_filter, kept):
    assert passes(make_row(1), parse_filter(given_filter)) is kept


def test_an_unmeasured_figure_keeps_no_bound():
    row = make_row(1, accuracy=math.nan)
    assert not passes(row, parse_filter({"bounds": {"accuracy": [None, 1]}}))


def test_a_bound_without_ends_is_dropped():
    assert parse_filter({"bounds": {"latency": [None, None]}})["bounds"] == {}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (None, "must be a mapping with bounds, choices, front, text, but got None"),
        ({"bond": 1}, "unknown key 'bond' in a filter; known: bounds, choices, front, text"),
        ({"bounds": [1]}, r"`bounds` of a filter must be a mapping, but got \[1\]"),
        ({"bounds": {"latency": 8}}, "'latency' has 8"),
        ({"bounds": {"latency": [math.nan, 1]}}, "each a finite number or None"),
        ({"bounds": {"latency": [True, 1]}}, "each a finite number or None"),
        ({"choices": {"runtime": "eager"}}, "a list of values, but 'runtime' has 'eager'"),
        ({"front": 1}, "`front` of a filter must be True or False, but got 1"),
        ({"text": None}, "`text` of a filter must be a string, but got None"),
    ],
)
def test_a_wrong_filter_is_refused_with_rule_and_value(wrong, words):
    with pytest.raises(ValueError, match=words):
        parse_filter(wrong)


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_a_bound_at_the_value_itself_keeps_it(value, other):
    row = make_row(1, latency=value)
    assert passes(row, parse_filter({"bounds": {"latency": [value, value]}}))
    wanted = parse_filter({"bounds": {"latency": [other, None]}})
    assert passes(row, wanted) is (value >= other)
