"""What a candidate is expected to measure, and on which scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.controller.staged.covariance import _Likelihood
from autoopt.controller.staged.points import Points
from autoopt.controller.staged.scale import Scale, fitting
from autoopt.controller.staged.surrogate import LARGEST, Surrogate

SCALES = [
    Scale(),
    Scale("log"),
    Scale("log", side=-1.0),
    Scale("root", base=0.06, unit=0.01),
]


def points(inputs, features=None, networks=None) -> Points:
    """Points of as many networks, whose inputs are computed unless other features are given."""
    features = inputs if features is None else features
    return Points(features, inputs, np.arange(len(inputs)) if networks is None else networks)


def data(count: int, noise: float = 0.0):
    random = np.random.default_rng(0)
    inputs = random.random((count, 3))
    values = 2 * inputs[:, 0] + np.sin(6 * inputs[:, 1]) + noise * random.normal(size=count)
    return inputs, values


def fitted(count: int = 60, noise: float = 0.0) -> Surrogate:
    model = Surrogate()
    inputs, values = data(count, noise)
    model.fit(points(inputs), values, np.full(count, noise))
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


def test_it_learns_a_curve_beyond_its_line() -> None:
    model = fitted()
    inputs = np.random.default_rng(1).random((200, 3))
    expected, deviation = model.predict(points(inputs))
    true = 2 * inputs[:, 0] + np.sin(6 * inputs[:, 1])
    assert np.sqrt(np.mean((expected - true) ** 2)) < 0.1
    assert (deviation > 0).all()
    assert model.expect(points(inputs)) == pytest.approx(expected)


def test_its_predictions_are_those_of_scikit_learn() -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern

    inputs, values = data(40, 0.1)
    none, model = np.zeros((40, 0)), Surrogate()
    model.fit(points(inputs, none), values, np.full(40, 0.1))
    found = model._covariance
    # Without features the line is its constant alone.
    kernel = ConstantKernel(found.curve) * Matern(found.lengths, nu=2.5) + ConstantKernel(
        found.line
    )
    # Every point is of a network of its own, whose luck nothing else tells of.
    noise = found.white + found.luck + (0.1 / values.std()) ** 2
    peer = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None)
    peer.fit(inputs, (values - values.mean()) / values.std())
    elsewhere = np.random.default_rng(1).random((50, 3))
    mean, deviation = peer.predict(elsewhere, return_std=True)
    expected, spread = model.predict(points(elsewhere, np.zeros((50, 0)), np.arange(100, 150)))
    assert expected == pytest.approx(mean * values.std() + values.mean(), rel=1e-5)
    assert spread == pytest.approx(np.sqrt(deviation**2 + found.luck) * values.std(), rel=1e-3)


def test_the_gradient_of_the_likelihood_is_that_of_differences() -> None:
    random = np.random.default_rng(0)
    at_random = points(random.random((30, 4)), random.normal(size=(30, 2)), np.arange(30) // 3)
    likelihood = _Likelihood.of(at_random, random.normal(size=30), np.full(30, 0.01))
    at = 0.3 * random.normal(size=8)
    _, gradient = likelihood.negative(at)
    for place in range(8):
        step = 1e-5 * np.eye(8)[place]
        rise = likelihood.negative(at + step)[0] - likelihood.negative(at - step)[0]
        assert gradient[place] == pytest.approx(rise / 2e-5, rel=1e-4, abs=1e-6)


def test_a_line_in_what_is_computed_reaches_beyond_all_observations() -> None:
    random = np.random.default_rng(0)
    inputs, features = random.random((12, 6)), random.random((12, 1))
    model = Surrogate()
    model.fit(points(inputs, features), 3 * features[:, 0], np.full(12, 1e-3))
    far = np.full((1, 1), 3.0)
    expected, deviation = model.predict(points(random.random((1, 6)), far))
    assert abs(expected[0] - 9.0) < 2 * deviation[0] < 4.0


def test_far_from_all_observations_the_weights_of_the_line_are_uncertain_too() -> None:
    model = fitted(noise=0.01)
    there, far = np.full((1, 3), 0.5), np.full((1, 3), 6.0)
    _, near = model.predict(points(there))
    _, uncertain = model.predict(points(far))
    assert uncertain[0] > model.prior > near[0]


def test_what_a_network_was_lucky_with_holds_for_all_of_it_and_is_unknown_of_others() -> None:
    random = np.random.default_rng(0)
    networks = np.repeat(np.arange(20), 4)
    lucky = random.normal(size=20)
    inputs = random.random((80, 2))
    values = inputs[:, 0] + lucky[networks]
    model = Surrogate()
    none = np.zeros((80, 0))
    model.fit(points(inputs, none, networks), values, np.full(80, 1e-3))
    elsewhere, nothing = random.random((20, 2)), np.zeros((20, 0))
    known, sure = model.predict(points(elsewhere, nothing, np.arange(20)))
    _, unsure = model.predict(points(elsewhere, nothing, np.arange(100, 120)))
    assert np.abs(known - elsewhere[:, 0] - lucky).max() < 0.3
    assert unsure.min() > 3 * sure.max()


def test_an_observation_known_to_be_noisy_says_less_about_its_point() -> None:
    inputs, values = data(40)
    inputs[0] = 3.0  # far from all others, which thus say nothing of it
    known = []
    for noise in (1e-3, 3.0):
        noises = np.full(40, 1e-3)
        noises[0] = noise
        model = Surrogate()
        model.fit(points(inputs), values, noises)
        known.append(model.predict(points(inputs[:1]))[1][0])
    assert known[1] > 2 * known[0]


def test_more_observations_than_the_model_takes_are_fitted_all_the_same() -> None:
    model = fitted(LARGEST + 100)
    assert len(model._weights) == LARGEST


def test_a_space_without_any_choice_is_predicted_by_its_average() -> None:
    model = Surrogate()
    model.fit(points(np.zeros((3, 0))), np.array([1.0, 2.0, 3.0]), np.zeros(3))
    mean, _ = model.predict(points(np.zeros((1, 0)), networks=np.array([9])))
    assert mean == pytest.approx([2.0])
