"""What a candidate is expected to measure, and on which scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.controller.staged.scale import Scale, fitting
from autoopt.controller.staged.surrogate import LARGEST, Surrogate

SCALES = [
    Scale(),
    Scale("log"),
    Scale("log", side=-1.0),
    Scale("root", base=0.06, unit=0.01),
]


def data(count: int, noise: float = 0.0):
    random = np.random.default_rng(0)
    inputs = random.random((count, 3))
    values = 2 * inputs[:, 0] + np.sin(6 * inputs[:, 1]) + noise * random.normal(size=count)
    return inputs, values


def fitted(count: int = 60, noise: float = 0.0) -> Surrogate:
    model = Surrogate()
    inputs, values = data(count, noise)
    model.fit(inputs, inputs, values, np.full(count, noise))
    return model


@pytest.mark.parametrize("scale", SCALES, ids=str)
@given(value=st.floats(0.01, 100.0), other=st.floats(0.01, 100.0))
def test_a_scale_keeps_the_order_and_maps_back(scale: Scale, value: float, other: float) -> None:
    pair = np.array([value, other]) * (scale.side if scale.kind == "log" else 1.0)
    mapped = scale.forward(pair)
    assert scale.back(mapped) == pytest.approx(pair, rel=1e-6)
    assert (mapped[0] <= mapped[1]) == (pair[0] <= pair[1])


@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_a_deviation_follows_the_slope_of_the_scale(scale: Scale) -> None:
    values = np.array([0.2, 3.0]) * (scale.side if scale.kind == "log" else 1.0)
    slope = (scale.forward(values + 1e-6) - scale.forward(values - 1e-6)) / 2e-6
    assert scale.spread(values, np.ones(2)) == pytest.approx(np.abs(slope), rel=1e-4)


def test_times_are_modelled_by_logarithms_and_the_quality_as_a_loss() -> None:
    def kind(values, quality=False):
        return fitting(np.array(values), quality=quality, original=0.1, unit=0.01)

    assert kind([1.0, 8.0]) == Scale("log")
    assert kind([-8.0, -1.0]) == Scale("log", side=-1.0)
    assert kind([1.0, 1.5]) == kind([-1.0, 5.0]) == Scale()
    assert kind([0.1, 0.3], quality=True) == Scale("root", base=0.1, unit=0.01)


def test_it_learns_a_curve_beyond_its_linear_mean() -> None:
    model = fitted()
    inputs = np.random.default_rng(1).random((200, 3))
    expected, deviation = model.predict(inputs, inputs)
    true = 2 * inputs[:, 0] + np.sin(6 * inputs[:, 1])
    assert np.sqrt(np.mean((expected - true) ** 2)) < 0.1
    assert np.sqrt(np.mean((model.mean(inputs) - true) ** 2)) > 0.3
    assert (deviation > 0).all()
    assert model.expect(inputs, inputs) == pytest.approx(expected)


def test_its_predictions_are_those_of_scikit_learn() -> None:
    model = fitted(noise=0.1)
    inputs = np.random.default_rng(1).random((50, 3))
    mean, deviation = model.predict(inputs, inputs)
    residual, noisy = model._process.predict(inputs, return_std=True)
    white = model._process.kernel_.k2.noise_level
    assert mean == pytest.approx(model.mean(inputs) + residual * model._unit, rel=1e-6)
    process = (noisy**2 - white) * model._unit**2
    assert (deviation**2 > 0.999 * process - 1e-6).all()
    # Without features there is no mean whose weights could be uncertain.
    bare, (_, values) = Surrogate(), data(40)
    none = np.zeros((40, 0))
    bare.fit(none, data(40)[0], values, np.full(40, 0.1))
    _, deviation = bare.predict(np.zeros((50, 0)), inputs)
    _, noisy = bare._process.predict(inputs, return_std=True)
    white = bare._process.kernel_.k2.noise_level
    assert deviation**2 == pytest.approx((noisy**2 - white) * bare._unit**2, rel=1e-3, abs=1e-6)


def test_far_from_all_observations_the_weights_of_the_mean_are_uncertain_too() -> None:
    model = fitted(noise=0.01)
    there, far = np.full((1, 3), 0.5), np.full((1, 3), 6.0)
    _, near = model.predict(there, there)
    _, uncertain = model.predict(far, far)
    assert uncertain[0] > 1.5 * model.prior > near[0]


def test_an_observation_known_to_be_noisy_says_less_about_its_point() -> None:
    inputs, values = data(40)
    inputs[0] = 3.0  # far from all others, which thus say nothing of it
    known = []
    for noise in (1e-3, 3.0):
        noises = np.full(40, 1e-3)
        noises[0] = noise
        model = Surrogate()
        model.fit(inputs, inputs, values, noises)
        known.append(model.predict(inputs[:1], inputs[:1])[1][0])
    assert known[1] > 2 * known[0]


def test_more_observations_than_the_process_takes_are_fitted_all_the_same() -> None:
    model = fitted(LARGEST + 100)
    assert len(model._process.X_train_) == LARGEST


def test_a_space_without_any_choice_is_predicted_by_its_mean() -> None:
    model = Surrogate()
    model.fit(np.zeros((3, 0)), np.zeros((3, 0)), np.array([1.0, 2.0, 3.0]), np.zeros(3))
    mean, _ = model.predict(np.zeros((1, 0)), np.zeros((1, 0)))
    assert mean == pytest.approx([2.0])
