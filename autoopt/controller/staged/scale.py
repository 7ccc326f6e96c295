"""The scale on which an objective is modelled: where its effects add up and its noise is even."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SPAN = 3.0
"""Largest over smallest value from which a positive objective is modelled by its logarithm."""


@dataclass(frozen=True)
class Scale:
    """A monotone map between an objective, turned so that less is better, and its model's scale.

    Attributes
    ----------
    kind
        ``"log"`` of what multiplies (times, sizes), ``"root"`` of a loss over `base`, whose
        effects grow faster than evenly, or ``"linear"``.
    base
        The value that the original has; only for ``"root"``.
    unit
        Loss at which the root turns from steep to even; only for ``"root"``.
    side
        -1 for an objective that was maximised and is thus negative throughout; only for ``"log"``.
    """

    kind: Literal["log", "root", "linear"] = "linear"
    base: float = 0.0
    unit: float = 1.0
    side: float = 1.0

    def forward(self, values: Floats) -> Floats:
        """Return values on the model's scale."""
        if self.kind == "log":
            mapped: Floats = np.log(np.maximum(np.abs(values), 1e-300)) * self.side
        elif self.kind == "root":
            lost = (values - self.base) / self.unit + 1.0
            mapped = np.sign(lost) * np.sqrt(np.abs(lost))
        else:
            mapped = values
        return mapped

    def back(self, values: Floats) -> Floats:
        """Return values of the model as the objective."""
        if self.kind == "log":
            objective: Floats = np.exp(values * self.side) * self.side
        elif self.kind == "root":
            objective = (np.sign(values) * values**2 - 1.0) * self.unit + self.base
        else:
            objective = values
        return objective

    def spread(self, values: Floats, deviations: Floats) -> Floats:
        """Return standard deviations on the model's scale, by the slope of the map."""
        if self.kind == "log":
            slope: Floats = 1 / np.maximum(np.abs(values), 1e-300)
        elif self.kind == "root":
            lost = np.abs((values - self.base) / self.unit + 1.0)
            slope = 1 / (2 * self.unit * np.sqrt(np.maximum(lost, 0.05)))
        else:
            slope = np.ones_like(values)
        return deviations * slope


def fitting(values: Floats, *, quality: bool, original: float, unit: float) -> Scale:
    """Return the scale for an objective with these values.

    Parameters
    ----------
    values
        As observed, turned so that less is better.
    quality
        Whether it is a loss against the original.
    original
        The original's value.
    unit
        A loss that still matters, such as the largest that is allowed.
    """
    if quality:
        return Scale("root", original, max(unit, 1e-12))
    for side in (1.0, -1.0):
        turned = values * side
        if turned.min() > 0 and turned.max() >= SPAN * turned.min():
            return Scale("log", side=side)
    return Scale()
