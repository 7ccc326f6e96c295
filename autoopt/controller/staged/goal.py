"""What a staged search is after, and what it is told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoopt.controller.staged.codes import Floats
from autoopt.recipe import Recipe


@dataclass(frozen=True)
class Goal:
    """What makes a point worth something; less is better on every axis.

    Attributes
    ----------
    caps
        The worst values that are of any use; NaN on an axis without one.
    drop
        How much worse than the original the quality may be, where it has no cap.
    quality
        Position of the axis that is a loss against the original, or None.
    even
        Axes that are logarithms already, or of which it is known otherwise that effects add up.
    """

    caps: tuple[float, ...]
    drop: float = 0.05
    quality: int | None = 0
    even: frozenset[int] = frozenset()

    def reference(self, original: Floats, beyond: Floats) -> Floats:
        """Return the corner of the hypervolume.

        An axis without a cap ends at the original and a little `beyond`, so that an axis on
        which nothing can be gained does not make all volumes zero.
        """
        corner = original + beyond
        if self.quality is not None:
            corner[self.quality] = original[self.quality] + self.drop
        caps = np.array(self.caps)
        return np.where(np.isnan(caps), corner, caps)

    def corner(self, original: Floats, observed: Floats) -> Floats:
        """Return the same where `beyond` is a twentieth of the span of what was observed."""
        return self.reference(original, np.maximum(0.05 * np.ptp(observed, axis=0), 1e-6))


@dataclass(frozen=True)
class Observation:
    """What became of one recipe.

    Attributes
    ----------
    recipe
        The recipe; None for a point outside the space, of which no model can learn.
    values
        One a axis, less is better; None for a failure.
    noise
        Standard deviation of each value.
    network
        Whether its network is there now; None where that was not tried.
    """

    recipe: Recipe | None
    values: tuple[float, ...] | None
    noise: tuple[float, ...] = ()
    network: bool | None = True
