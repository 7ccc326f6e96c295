"""The objectives as volumes are measured in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoopt.controller.staged.codes import Floats
from autoopt.controller.staged.improvement import Boxes
from autoopt.controller.staged.scale import Scale


@dataclass(frozen=True)
class View:
    """What models expect, brought to where volumes are measured.

    Attributes
    ----------
    scales
        Of the models.
    best, unit
        What is 0, and how far from it 1 is, on each axis.
    boxes
        The undominated region.
    """

    scales: list[Scale]
    best: Floats
    unit: Floats
    boxes: Boxes

    @property
    def volume(self) -> float:
        """What is dominated between 0 and 1."""
        return 1.0 - float(self.boxes.gain(np.zeros((1, len(self.unit))))[0])

    def points(self, values: Floats) -> Floats:
        """Return values of the models, axes last, as points of the view."""
        back = [scale.back(values[..., axis]) for axis, scale in enumerate(self.scales)]
        points: Floats = (np.stack(back, axis=-1) - self.best) / self.unit
        return points
