"""Points as models see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """What is known of points without measuring them, a row each.

    Attributes
    ----------
    features
        What is computed of each.
    inputs
        What was chosen, each column about from 0 to 1.
    networks
        A number a point, the same for those of one network.
    """

    features: Floats
    inputs: Floats
    networks: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.networks)

    def __getitem__(self, places: Any) -> Points:
        """Return some of them, by positions or a mask."""
        return Points(self.features[places], self.inputs[places], self.networks[places])

    @classmethod
    def joined(cls, parts: Sequence[Points]) -> Points:
        """Return all points of several tables in order."""
        return cls(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.inputs for part in parts]),
            np.concatenate([part.networks for part in parts]),
        )
