from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.measurement import Axis, Measurement, Stat

numbers = st.floats(-1e12, 1e12)
factors = st.floats(1e-6, 1e6)


@st.composite
def stats(draw: st.DrawFn) -> Stat:
    low, value, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    return Stat(value, low, high, draw(st.integers(1, 100)), draw(st.sampled_from(["", "ms"])))


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [(1.0, 1.1, 1.2), (1.3, 1.1, 1.2), (math.nan, 0.0, 1.0), (0.5, math.nan, 1.0)],
)
def test_a_value_outside_its_interval_is_refused(value: float, low: float, high: float):
    with pytest.raises(ValueError, match=r"`low <= value <= high` must hold, but got \(low="):
        Stat(value, low, high, 3)


@given(stats(), factors)
def test_scaling_keeps_the_order_of_the_bounds_and_the_unit(stat: Stat, factor: float):
    scaled = stat.scaled(factor)
    assert scaled.low <= scaled.value <= scaled.high
    assert scaled.value == stat.value * factor
    assert (scaled.n, scaled.unit) == (stat.n, stat.unit)


@pytest.mark.parametrize("factor", [0.0, -1.0, math.inf, math.nan])
def test_scaling_by_no_positive_number_is_refused(factor: float):
    with pytest.raises(ValueError, match="`factor` must be positive and finite, but got"):
        Stat.exact(1.0).scaled(factor)


@given(stats(), stats())
def test_overlap_is_mutual_and_means_a_shared_point(one: Stat, other: Stat):
    shared = max(one.low, other.low) <= min(one.high, other.high)
    assert one.overlaps(other) is other.overlaps(one) is shared
    assert one.overlaps(one)


def test_what_is_exact_has_no_width():
    size = Stat.exact(2.5, "MB")
    assert (size.low, size.high, size.n) == (2.5, 2.5, 1)
    assert str(size) == "2.5 MB"


def test_a_figure_shows_half_the_width_of_its_interval():
    assert str(Stat(1.5, 1.4, 1.6, 9, "ms")) == "1.5 ms ± 0.1"


@pytest.mark.parametrize(
    ("name", "unit", "column"),
    [
        ("latency", "ms", "latency_ms"),
        ("size", "MB", "size_mb"),
        ("throughput", "1/s", "throughput_per_s"),
        ("accuracy", "", "accuracy"),
        ("energy", "J", "energy_J"),
    ],
)
def test_a_column_carries_its_unit(name: str, unit: str, column: str):
    assert Axis(name, unit, "minimize").column == column


def test_the_sign_turns_every_axis_to_less_is_better():
    assert Axis("latency", "ms", "minimize").sign == 1
    assert Axis("accuracy", "", "maximize").sign == -1


@given(st.dictionaries(st.text(max_size=5), stats(), max_size=3), st.none() | stats())
def test_a_measurement_comes_back_from_json_as_it_was(figures: dict[str, Stat], test: Stat | None):
    measured = Measurement(figures, test=test, samples={"candidate": [[1.0, 2.0]]})
    assert Measurement.from_dict(json.loads(json.dumps(measured.to_dict()))) == measured


def test_a_record_of_before_fields_were_added_is_read():
    stat: dict[str, Any] = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9, "unit": ""}
    old = {"stats": {"accuracy": stat}, "test": None, "speedup": None, "reference_ms": 1.0,
           "samples": {}, "realised": {"precision": "float32"}, "target": "cpu",
           "environment": {"processor": "Some CPU", "load": 0.1, "time": 1.0},
           "protocol": {"deployment": {"runtime": "eager", "files": {}}}}  # fmt: skip
    measured = Measurement.from_dict(old)
    assert measured.stats["accuracy"] == Stat(**stat)
    assert measured.environment.get("system") is None
    assert measured.protocol["deployment"].get("task") is None
    bare = Measurement.from_dict({"stats": {"accuracy": stat}})
    assert (bare.protocol, bare.environment, bare.target) == ({}, {}, "cpu")
