"""What a candidate is expected to measure: a Gaussian process with a line in its features."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, cholesky, solve_triangular

from autoopt.controller.staged.covariance import Covariance
from autoopt.controller.staged.points import Points

Floats = npt.NDArray[np.float64]

LARGEST = 400
"""Observations that a model is given."""

GROWTH = 1.08
"""Growth of the data after which the covariance is fitted again."""

FIRST_STEPS, STEPS = 30, 12
"""Steps of the optimiser: at first, and from where it was."""


@dataclass
class Surrogate:
    """Models one objective on its scale.

    A line in features that are computed, not learnt, so that a few observations say much, and a
    smooth curve over features and inputs for what the line leaves (Rasmussen and Williams 2006,
    section 2.7). A line in the inputs too would need many more observations than it is worth.
    Each observation brings its own noise, to which the fit adds what it finds.

    Attributes
    ----------
    seed
        Of the choice of observations where there are too many.
    """

    seed: int = 0
    _fitted: int = 0
    _covariance: Covariance = field(default_factory=lambda: Covariance.likely(0))
    _points: Points | None = None
    _lower: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    _weights: Floats = field(default_factory=lambda: np.zeros(0))
    _center: Floats = field(default_factory=lambda: np.zeros(0))
    _scale: Floats = field(default_factory=lambda: np.zeros(0))
    _least: Floats = field(default_factory=lambda: np.zeros(0))
    _range: Floats = field(default_factory=lambda: np.zeros(0))
    _offset: float = 0.0
    _unit: float = 1.0

    def fit(self, points: Points, values: Floats, noise: Floats) -> None:
        """Take in everything observed so far.

        Parameters
        ----------
        points
            One an observation.
        values
            On the model's scale.
        noise
            Standard deviation of each value.
        """
        kept = self._kept(values)
        features, values = points.features[kept], values[kept]
        self._center = features.mean(axis=0)
        self._scale = _unless_zero(features.std(axis=0)) * np.sqrt(max(features.shape[1], 1))
        self._least, self._range = features.min(axis=0), _unless_zero(np.ptp(features, axis=0))
        self._points = seen = self._seen(points[kept])
        self._offset, self._unit = float(values.mean()), float(max(values.std(), 1e-9))
        wanted = (values - self._offset) / self._unit
        variances = (noise[kept] / self._unit) ** 2 + 1e-8
        width = seen.inputs.shape[1]
        first = len(self._covariance.lengths) != width or not self._fitted
        if first:
            self._covariance = Covariance.likely(width)
        if first or len(noise) >= GROWTH * self._fitted:
            steps = FIRST_STEPS if first else STEPS
            self._covariance = self._covariance.fitted(seen, wanted, variances, steps)
            self._fitted = len(noise)
        covariances = self._covariance.between(seen, seen)
        covariances[np.diag_indices(len(wanted))] += self._covariance.white + variances
        self._lower = cholesky(covariances, lower=True, check_finite=False)
        self._weights = cho_solve((self._lower, True), wanted, check_finite=False)

    def predict(self, points: Points) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of what is expected without noise."""
        points = self._seen(points)
        across = self._across(points)
        explained = solve_triangular(self._lower, across.T, lower=True, check_finite=False)
        left = self._covariance.variance(points.features) - np.einsum(
            "ij,ij->j", explained, explained
        )
        mean: Floats = across @ self._weights * self._unit + self._offset
        return mean, np.sqrt(np.maximum(left, 1e-10)) * self._unit

    def expect(self, points: Points) -> Floats:
        """Return the mean alone, which is cheaper."""
        across = self._across(self._seen(points))
        expected: Floats = across @ self._weights * self._unit + self._offset
        return expected

    @property
    def prior(self) -> float:
        """Standard deviation of a network's curve and luck where nothing is known."""
        return float(np.sqrt(self._covariance.curve + self._covariance.luck)) * self._unit

    def _across(self, seen: Points) -> Floats:
        if self._points is None:
            raise ValueError("a surrogate must be fitted before it predicts, but it was not")
        return self._covariance.between(seen, self._points)

    def _seen(self, points: Points) -> Points:
        """Return points with features as the line takes them; the curve sees them as well."""
        ranged = (points.features - self._least) / self._range
        standard = (points.features - self._center) / self._scale
        return Points(standard, np.hstack([points.inputs, ranged]), points.networks)

    def _kept(self, values: Floats) -> npt.NDArray[np.int64]:
        """Return the observations for the model: half the best, half spread over the others."""
        count = len(values)
        if count <= LARGEST:
            return np.arange(count)
        order = np.argsort(values, kind="stable")
        best, others = order[: LARGEST // 2], order[LARGEST // 2 :]
        spread = np.random.default_rng(self.seed).permutation(len(others))[: LARGEST // 2]
        return np.sort(np.concatenate([best, others[spread]]))


def _unless_zero(spread: Floats) -> Floats:
    return np.where(spread > 1e-9, spread, 1.0)
