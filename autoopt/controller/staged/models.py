"""The models of all objectives, each on the scale where its effects add up."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from autoopt.controller.staged.codes import Floats
from autoopt.controller.staged.goal import Goal
from autoopt.controller.staged.points import Points
from autoopt.controller.staged.scale import Scale, fitting
from autoopt.controller.staged.surrogate import Surrogate


@dataclass
class Models:
    """What is expected of a point on every axis.

    Attributes
    ----------
    goal
        Says which axis is the quality, and which are even already.
    seed
        Of the surrogates.
    scales
        One an axis, chosen anew with every fit.
    """

    goal: Goal
    seed: int = 0
    scales: list[Scale] = field(default_factory=list)
    _surrogates: list[Surrogate] = field(default_factory=list)

    def fit(self, points: Points, values: Floats, noise: Floats, original: Floats) -> None:
        """Take in everything observed so far.

        Parameters
        ----------
        points
            One an observation.
        values, noise
            What was measured on each axis, less is better, and its standard deviation.
        original
            What the original measured.
        """
        corner = self.goal.corner(original, values)
        if not self._surrogates:
            self._surrogates = [Surrogate(self.seed) for _ in self.goal.caps]
        self.scales = []
        for axis, surrogate in enumerate(self._surrogates):
            observed, base = values[:, axis], float(original[axis])
            scale = Scale()
            if axis not in self.goal.even:
                quality = axis == self.goal.quality
                unit = 0.2 * float(corner[axis] - base)
                scale = fitting(observed, quality=quality, original=base, unit=unit)
            spread = scale.spread(observed, noise[:, axis])
            surrogate.fit(points, scale.forward(observed), spread)
            self.scales.append(scale)

    def expected(self, points: Points) -> Floats:
        """Return the objectives that are expected of points, a row each."""
        return self.back(self.means(points))

    def back(self, values: Floats) -> Floats:
        """Return values on the scales of the models as objectives, a column each."""
        back = [scale.back(values[:, axis]) for axis, scale in enumerate(self.scales)]
        return np.stack(back, axis=1)

    def means(self, points: Points) -> Floats:
        """Return what is expected of points on the scales of the models."""
        return np.stack([s.expect(points) for s in self._surrogates], axis=1)

    def predict(self, points: Points) -> tuple[Floats, Floats]:
        """Return the same with the standard deviations, which are dearer."""
        found = [surrogate.predict(points) for surrogate in self._surrogates]
        mean, deviation = (np.stack(list(part), axis=1) for part in zip(*found, strict=True))
        return mean, deviation

    @property
    def prior(self) -> Floats:
        """Standard deviation on each scale where nothing is known."""
        return np.array([surrogate.prior for surrogate in self._surrogates])
