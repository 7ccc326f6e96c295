"""Calibrated ranges against what they promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.precision import CALIBRATIONS, Grid, Histogram, activation_range, store, widened
from autoopt.precision.weight_ranges import weight_range
from tests.strategies import weight_rows


def histogram(values: np.ndarray) -> Histogram:
    values = values.astype(np.float32)
    return Histogram.empty(float(values.min()), float(values.max())).add(values)


def outlying(seed: int = 0) -> np.ndarray:
    """Values of about one, and three far outside."""
    values = np.random.default_rng(seed).standard_normal(20_000)
    return np.append(values, [40.0, -25.0, 38.0])


def lost(values: np.ndarray, bounds: tuple[float, float]) -> float:
    low, high = bounds
    step = (high - low) / 255
    rounded = np.clip(np.rint((values - low) / step), 0, 255) * step + low
    return float(((rounded - values) ** 2).mean())


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=40), st.booleans())
@pytest.mark.parametrize("name", CALIBRATIONS)
def test_a_range_holds_zero_and_lies_within_the_values_or_zero(name, values, symmetric):
    found = np.array(values, np.float32)
    low, high = activation_range(histogram(found), name, symmetric=symmetric)
    assert low <= 0 <= high
    assert low < high
    if symmetric and found.any():
        assert low == -high
    reach = max(np.abs(found).max(), 1.0) * 1.001
    assert -reach <= low
    assert high <= reach


def test_minmax_is_the_least_and_the_largest_value():
    assert activation_range(histogram(outlying()), "minmax", symmetric=False) == (-25.0, 40.0)


def test_a_percentile_is_that_of_numpy():
    values = np.random.default_rng(1).gamma(2.0, size=50_000).astype(np.float32)
    low, high = CALIBRATIONS["percentile"](histogram(values), share=98.0)
    bin_ = float(values.max() - values.min()) / 2048
    assert low == pytest.approx(np.percentile(values, 1), abs=1.01 * bin_)
    assert high == pytest.approx(np.percentile(values, 99), abs=1.01 * bin_)
    assert CALIBRATIONS["percentile"](histogram(values), share=100) == pytest.approx(
        (values.min(), values.max())
    )


@pytest.mark.parametrize("share", [50, 0, 101])
def test_a_percentile_outside_its_range_is_refused(share):
    with pytest.raises(ValueError, match=f"but got {share}"):
        CALIBRATIONS["percentile"](histogram(outlying()), share=share)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_least_squares_loses_no_more_than_any_other_calibration(seed):
    values = outlying(seed)
    found = histogram(values)
    losses = {name: lost(values, make(found)) for name, make in CALIBRATIONS.items()}
    assert losses["mse"] <= min(losses.values()) * 1.05
    assert losses["mse"] < losses["minmax"]


def test_entropy_gives_up_outliers_and_keeps_what_has_none():
    low, high = CALIBRATIONS["entropy"](histogram(outlying()))
    assert low > -25
    assert high < 40
    even = np.random.default_rng(0).uniform(0, 1, 50_000)
    assert CALIBRATIONS["entropy"](histogram(even))[1] > 0.9


def test_the_zeros_behind_a_relu_do_not_make_entropy_clip_what_is_left():
    values = np.random.default_rng(0).laplace(size=50_000)
    sparse = np.where(np.random.default_rng(1).random(50_000) < 0.7, 0, np.maximum(values, 0))
    dense = np.maximum(values, 0)
    for found in (sparse, dense):
        _, high = CALIBRATIONS["entropy"](histogram(found))
        assert high > 0.5 * found.max()
        assert (found > high).mean() < 0.001


def test_values_that_are_all_the_same_have_a_range():
    low, high = activation_range(histogram(np.zeros(5)), "mse", symmetric=False)
    assert low < high
    assert widened((3.0, 5.0), symmetric=False) == (0.0, 5.0)
    assert widened((-1.0, 5.0), symmetric=True) == (-5.0, 5.0)


def test_an_unknown_calibration_lists_the_known():
    with pytest.raises(ValueError, match="minmax, percentile, mse, entropy, but got 'guess'"):
        activation_range(histogram(outlying()), "guess", symmetric=False)


# ------------------------------------------------------------------ ranges of weights


@given(weight_rows(), st.sampled_from([2, 3, 4]), st.booleans())
def test_least_error_of_weights_beats_all_other_ranges_that_are_tried(rows, bits, affine):
    scheme: Any = "affine" if affine else "symmetric"
    errors = {
        ranges: float(
            ((store(rows, Grid(bits, scheme, ranges=ranges)).restored() - rows) ** 2).sum()
        )
        for ranges in ("mse", "minmax")
    }
    assert errors["mse"] <= errors["minmax"] * 1.001 + 1e-5


def test_a_percentile_of_weights_is_numpys():
    rows = np.random.default_rng(0).standard_normal((3, 500)).astype(np.float32)
    low, high = weight_range(rows[:, None, :], "percentile", 8, affine=True, percentile=98.0)
    np.testing.assert_allclose(low[:, 0], np.percentile(rows, 1, axis=1), rtol=1e-6)
    np.testing.assert_allclose(high[:, 0], np.percentile(rows, 99, axis=1), rtol=1e-6)
    even = weight_range(rows[:, None, :], "percentile", 8, affine=False, percentile=98.0)
    np.testing.assert_allclose(even[1], np.maximum(-low, high))
    np.testing.assert_array_equal(even[0], -even[1])


def test_entropy_of_weights_gives_up_an_outlier():
    rows = np.random.default_rng(0).standard_normal((200, 200)).astype(np.float32)
    rows[0, 0] = 60.0
    _, high = weight_range(rows.reshape(1, 1, -1), "entropy", 8, affine=True)
    assert 3.0 < float(high[0, 0]) < 50.0


def test_whole_zeros_make_zero_a_number_of_an_affine_grid():
    rows = np.random.default_rng(0).uniform(0.3, 1.0, (4, 32)).astype(np.float32)
    stored = store(rows, Grid(8, "affine", whole_zeros=True))
    np.testing.assert_array_equal(stored.zeros, 0)
    rows[:, 0] = -0.1
    stored = store(rows, Grid(8, "affine", whole_zeros=True))
    np.testing.assert_array_equal(stored.zeros, np.rint(stored.zeros))
    assert np.abs(stored.restored() - rows).max() <= float(stored.scales.max()) * (1 + 1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ranges": "best"}, "`ranges` must be one of"),
        ({"ranges": "entropy"}, "too few for one"),
        ({"bits": 1, "scheme": "binary", "ranges": "mse"}, "no range that could be calibrated"),
    ],
)
def test_ranges_of_weights_that_cannot_be_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Grid(**{"bits": 4, **settings})
