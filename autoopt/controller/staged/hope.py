"""What quality a network must keep so that one of its completions may matter."""

from __future__ import annotations

import numpy as np

from autoopt.controller.staged.codes import Floats

DEVIATIONS = 2.0
"""Standard deviations by which completions are taken to be better, and the front worse."""


def largest_loss(hoped: Floats, front: Floats, quality: int) -> float:
    """Return the value of the quality beyond which every completion is dominated.

    A completion is dominated at that value if something known is no worse than it hopes to be on
    all other axes, and better in quality. Less is better on every axis.

    Parameters
    ----------
    hoped
        Completions of the network, a row each, as good as they may be.
    front
        What was observed, a row each, as bad as it may be.
    quality
        Position of the quality, which of `hoped` is not looked at.

    Returns
    -------
    float
        Infinite where some completion is dominated by nothing.
    """
    others = [axis for axis in range(front.shape[1]) if axis != quality]
    covers = (front[None, :, others] <= hoped[:, None, others]).all(axis=2)
    losses = np.where(covers, front[None, :, quality], np.inf).min(axis=1)
    return float(losses.max()) if len(losses) else np.inf
