"""How alike two points are taken to be: a line, a curve, and what is their network's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack
from scipy.optimize import minimize

from autoopt.controller.staged.points import Points

Floats = npt.NDArray[np.float64]

LENGTH = 0.3
"""Length that is likely beforehand, in ranges of an input, over the root of their number.

Points of many dimensions lie far apart (Hvarfner et al., arXiv 2402.02229)."""

LENGTHS = (0.0, 1.0, -2.5, 4.0)
CURVE = (np.log(0.1), 1.5, -9.0, 4.0)
LINE = (0.0, 1.5, -9.0, 7.0)
LUCK = (np.log(0.01), 1.5, -11.0, 1.0)
WHITE = (np.log(0.01), 2.0, -11.0, 1.0)
"""Of the logarithms: mean and deviation beforehand, and bounds. That of the lengths is `LENGTH`."""


KINDS = (CURVE, LINE, LUCK, WHITE)


@dataclass(frozen=True)
class Covariance:
    """Variances of a line, a Matérn 5/2 curve and of networks, in units of what is explained.

    The line's weights and the curve are estimated together: a mean fitted beforehand would take
    what belongs to the curve, and the curve what belongs to it.

    Attributes
    ----------
    lengths
        Of the curve along each input: how far apart points are still alike.
    curve, line, luck, white
        Variances of the curve over inputs, of the line in features with its constant, of what
        all points of a network share (training it again would give another), and of what no
        point explains.
    """

    lengths: Floats
    curve: float
    line: float
    luck: float
    white: float

    @classmethod
    def likely(cls, width: int) -> Covariance:
        """Return what is likely before anything is observed."""
        lengths = np.full(width, LENGTH * np.sqrt(max(width, 1)))
        return cls(lengths, *(float(np.exp(mean)) for mean, *_ in KINDS))

    def between(self, here: Points, there: Points) -> Floats:
        """Return the covariances of points without noise."""
        scaled, to = here.inputs / self.lengths, there.inputs / self.lengths
        squared = (scaled**2).sum(axis=1)[:, None] + (to**2).sum(axis=1) - 2 * scaled @ to.T
        reach = np.sqrt(5 * np.maximum(squared, 0.0))
        matern = (1 + reach + reach**2 / 3) * np.exp(-reach)
        line = self.line * (1 + here.features @ there.features.T)
        luck = self.luck * (here.networks[:, None] == there.networks)
        covariances: Floats = self.curve * matern + line + luck
        return covariances

    def variance(self, features: Floats) -> Floats:
        """Return the variance of each point before anything is observed."""
        line = self.line * (1 + (features**2).sum(axis=1))
        variances: Floats = self.curve + line + self.luck
        return variances

    def fitted(self, points: Points, values: Floats, noise: Floats, steps: int) -> Covariance:
        """Return the covariance that explains values best, found in a few steps from this one.

        The logarithms of its numbers have normal distributions beforehand, so that few
        observations do not say what they cannot know.

        Parameters
        ----------
        points
            One a value.
        values
            Of mean zero and deviation one.
        noise
            Variance of each.
        steps
            Of the optimiser.
        """
        width = len(self.lengths)
        likelihood = _Likelihood.of(points, values, noise)
        start = np.log([*self.lengths, self.curve, self.line, self.luck, self.white])
        low, high = np.array([[*LENGTHS[2:]]] * width + [[*k[2:]] for k in KINDS]).T
        found = minimize(
            likelihood.negative,
            np.clip(start, low, high),
            jac=True,
            method="L-BFGS-B",
            bounds=np.stack([low, high], axis=1),
            options={"maxiter": steps},
        ).x
        curve, line, luck, white = np.exp(found[width:]).tolist()
        return Covariance(np.exp(found[:width]), curve, line, luck, white)


@dataclass(frozen=True)
class _Likelihood:
    """The marginal likelihood of values over the logarithms of a covariance's numbers."""

    squares: Floats
    linear: Floats
    same: Floats
    values: Floats
    noise: Floats
    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, points: Points, values: Floats, noise: Floats) -> _Likelihood:
        features, inputs = points.features, points.inputs
        same = (points.networks[:, None] == points.networks).astype(float)
        count, width = inputs.shape
        apart = (inputs[:, None, :] - inputs[None, :, :]) ** 2
        squares = np.ascontiguousarray(apart.reshape(count * count, width).T)
        likely = Covariance.likely(width)
        mean = np.log([*likely.lengths, likely.curve, likely.line, likely.luck, likely.white])
        deviation = np.array([LENGTHS[1]] * width + [kind[1] for kind in KINDS])
        return cls(squares, 1 + features @ features.T, same, values, noise, mean, deviation)

    def negative(self, logs: Floats) -> tuple[float, Floats]:
        """Return the negative logarithm of the posterior, and its gradient."""
        width, count = len(self.squares), len(self.values)
        shrink = np.exp(-2 * logs[:width])
        height, line, luck, white = np.exp(logs[width:]).tolist()
        reach = np.sqrt(5 * (shrink @ self.squares)).reshape(count, count)
        fallen = height * np.exp(-reach)
        curve = (1 + reach + reach**2 / 3) * fallen
        covariance = curve + line * self.linear + luck * self.same
        covariance[np.diag_indices(count)] += white + self.noise
        lower, failed = lapack.dpotrf(covariance, lower=1)
        if failed:
            return 1e10, np.zeros_like(logs)
        inverse, _ = lapack.dpotri(lower, lower=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        weights = inverse @ self.values
        slope = 0.5 * (inverse - np.outer(weights, weights))
        value = 0.5 * float(self.values @ weights) + float(np.log(np.diag(lower)).sum())
        gradient = np.empty_like(logs)
        bent = (slope * fallen * (1 + reach)).ravel() * (5 / 3)
        gradient[:width] = (self.squares @ bent) * shrink
        gradient[width] = (slope * curve).sum()
        gradient[width + 1] = line * (slope * self.linear).sum()
        gradient[width + 2] = luck * (slope * self.same).sum()
        gradient[width + 3] = white * np.trace(slope)
        off = (logs - self.mean) / self.deviation
        return value + 0.5 * float(off @ off), gradient + off / self.deviation
