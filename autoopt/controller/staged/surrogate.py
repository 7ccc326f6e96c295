"""What a candidate is expected to measure: a ridge mean and a Gaussian process on what is left."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize

Floats = npt.NDArray[np.float64]

LARGEST = 240
"""Observations that a Gaussian process is given; the mean is always fitted to all."""

GROWTH = 1.12
"""Growth of the data after which hyperparameters are fitted again."""

STEPS = 20
"""Steps of the optimiser of the hyperparameters, which start where they were."""

LENGTHS = (0.15, 20.0)
"""Bounds of the lengths, in units of an input's range."""

PENALTIES = np.logspace(-3, 3, 7)


@dataclass
class Surrogate:
    """Models one objective on its scale.

    The mean is linear in features that are computed, not learnt, so that a few observations
    say much; the process, a Matérn 5/2 with a length a dimension, has only the residual to
    explain. Each observation brings its own noise, to which the fit adds what it finds.

    Attributes
    ----------
    seed
        Of the choice of observations that the process is given.
    """

    seed: int = 0
    _fitted: int = 0
    _kernel: Any = None
    _process: Any = None
    _weights: Floats = field(default_factory=lambda: np.zeros(0))
    _offset: float = 0.0
    _center: Floats = field(default_factory=lambda: np.zeros(0))
    _scale: Floats = field(default_factory=lambda: np.zeros(0))
    _penalty: float = 1.0
    _explained: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    _uncertain: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    _unit: float = 1.0

    def fit(self, features: Floats, inputs: Floats, values: Floats, noise: Floats) -> None:
        """Take in everything observed so far.

        Parameters
        ----------
        features
            What the mean is linear in, a row an observation.
        inputs
            What the process sees, each column about from 0 to 1.
        values
            On the model's scale.
        noise
            Standard deviation of each value.
        """
        anew = len(values) >= GROWTH * self._fitted or self._kernel is None
        if anew or len(self._weights) != features.shape[1]:
            self._fit_mean(features, values)
            self._fitted = len(values)
        residual = values - self.mean(features)
        self._unit = float(max(np.sqrt(np.mean(residual**2)), 1e-9))
        kept = self._kept(values)
        self._fit_process(
            inputs[kept], residual[kept] / self._unit, noise[kept] / self._unit, anew=anew
        )
        if self._process is not None:
            standard = (features[kept] - self._center) / self._scale
            lower = (self._process.L_, True)
            self._explained = np.asarray(cho_solve(lower, standard), dtype=np.float64)
            penalty = self._penalty * np.eye(standard.shape[1])
            self._uncertain = np.asarray(np.linalg.inv(standard.T @ self._explained + penalty))

    def mean(self, features: Floats) -> Floats:
        """Return the linear part."""
        standard = (features - self._center) / self._scale
        mean: Floats = standard @ self._weights + self._offset
        return mean

    def predict(self, features: Floats, inputs: Floats) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of what is expected without noise."""
        mean = self.mean(features)
        if not inputs.shape[1]:
            return mean, np.full(len(mean), 1e-6)
        across = self._across(inputs)
        residual = across @ self._process.alpha_
        explained = solve_triangular(self._process.L_, across.T, lower=True, check_finite=False)
        left = self._height - np.einsum("ij,ij->j", explained, explained)
        left = np.maximum(left, 1e-10) + self._of_the_mean(features, across)
        return mean + residual * self._unit, np.sqrt(left) * self._unit

    def expect(self, features: Floats, inputs: Floats) -> Floats:
        """Return the mean alone, which is cheaper."""
        mean = self.mean(features)
        if not inputs.shape[1]:
            return mean
        expected: Floats = mean + self._across(inputs) @ self._process.alpha_ * self._unit
        return expected

    def _of_the_mean(self, features: Floats, across: Floats) -> Floats:
        """Return the variance that the weights of the mean leave, in units of the residual's.

        As in universal kriging (Rasmussen and Williams 2006, eq. 2.42): it grows with what the
        features of a point have beyond those of its neighbours.
        """
        beyond = (features - self._center) / self._scale - across @ self._explained
        reached: Floats = np.einsum("ij,ij->i", beyond @ self._uncertain, beyond)
        return np.maximum(reached, 0.0)

    @property
    def prior(self) -> float:
        """Standard deviation where nothing is known."""
        return float(np.sqrt(self._height)) * self._unit if self._process is not None else 0.0

    @property
    def _height(self) -> float:
        return float(self._process.kernel_.k1.k1.constant_value)

    def _across(self, inputs: Floats) -> Floats:
        """Return the kernel between inputs and observations, less what it calls white.

        The same numbers as scikit-learn's, by a matrix product instead of pairwise distances.
        """
        lengths = self._process.kernel_.k1.k2.length_scale
        here, there = inputs / lengths, self._process.X_train_ / lengths
        squared = (here**2).sum(axis=1)[:, None] + (there**2).sum(axis=1) - 2 * here @ there.T
        reach = np.sqrt(5 * np.maximum(squared, 0.0))
        across: Floats = self._height * (1 + reach + reach**2 / 3) * np.exp(-reach)
        return across

    def _fit_mean(self, features: Floats, values: Floats) -> None:
        """Fit by ridge regression, the penalty by generalised cross-validation."""
        from sklearn.linear_model import RidgeCV

        if not features.shape[1]:
            self._offset = float(values.mean())
            self._center = self._scale = self._weights = np.zeros(0)
            return
        self._center = features.mean(axis=0)
        spread = features.std(axis=0)
        self._scale = np.where(spread > 1e-9, spread, 1.0)
        ridge = RidgeCV(PENALTIES).fit((features - self._center) / self._scale, values)
        self._weights, self._offset = ridge.coef_, float(ridge.intercept_)
        self._penalty = float(ridge.alpha_)

    def _kept(self, values: Floats) -> npt.NDArray[np.int64]:
        """Return the observations for the process: half the best, half spread over the others."""
        count = len(values)
        if count <= LARGEST:
            return np.arange(count)
        order = np.argsort(values, kind="stable")
        best, others = order[: LARGEST // 2], order[LARGEST // 2 :]
        spread = np.random.default_rng(self.seed).permutation(len(others))[: LARGEST // 2]
        return np.sort(np.concatenate([best, others[spread]]))

    def _fit_process(self, inputs: Floats, values: Floats, noise: Floats, *, anew: bool) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        if not inputs.shape[1]:
            return
        width = inputs.shape[1]
        if self._kernel is None or self._kernel_width() != width:
            self._kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(
                np.full(width, 1.5), LENGTHS, nu=2.5
            ) + WhiteKernel(0.1, (1e-4, 1.0))
        process = GaussianProcessRegressor(
            self._kernel, alpha=noise**2 + 1e-8, optimizer=_descend if anew else None
        )
        with warnings.catch_warnings():
            # A length at its bound only says that a dimension does not matter.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._process = process.fit(inputs, values)
        self._kernel = self._process.kernel_

    def _kernel_width(self) -> int:
        return len(np.atleast_1d(self._kernel.k1.k2.length_scale))


def _descend(objective: Any, start: Floats, bounds: Floats) -> tuple[Floats, float]:
    """Minimise in a few steps: the start is good, and the fit is one of many."""
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS}
    )
    return found.x, found.fun
