"""How much a point would add to the hypervolume: exact, for many points at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Boxes:
    """The region that no point of a front dominates, cut into disjoint boxes.

    Less is better on every axis. Each local upper bound of the front owns one box (Lacour,
    Klamroth and Fonseca, "A box decomposition algorithm to compute the hypervolume indicator",
    2017); what a point adds is the volume between it and the upper corners.

    Attributes
    ----------
    low, high
        Corners of the boxes, a row a box.
    """

    low: Floats
    high: Floats

    @classmethod
    def around(cls, front: Floats, reference: Floats) -> Boxes:
        """Cut the region below `reference` that `front` leaves undominated."""
        axes = len(reference)
        high = reference[None].astype(float)
        # Of each bound the point that holds it on each axis; at first nothing does.
        holders = np.full((1, axes, axes), -np.inf)
        holders[0, np.arange(axes), np.arange(axes)] = reference
        for point in front[(front < reference).all(axis=1)]:
            beaten = (point < high).all(axis=1)
            if not beaten.any():
                continue
            new_high, new_holders = _children(point, high[beaten], holders[beaten])
            high = np.concatenate([high[~beaten], new_high])
            holders = np.concatenate([holders[~beaten], new_holders])
        low = np.full_like(high, -np.inf)
        for axis in range(1, axes):
            low[:, axis] = holders[:, :axis, axis].max(axis=1)
        return cls(low, high)

    def gain(self, points: Floats) -> Floats:
        """Return the hypervolume that each point alone would add; any shape ``(..., axes)``."""
        flat = points.reshape(-1, points.shape[-1])
        volume = np.ones((len(flat), len(self.high)))
        for axis in range(flat.shape[1]):
            bottom = np.maximum(flat[:, axis, None], self.low[:, axis])
            volume *= np.maximum(self.high[:, axis] - bottom, 0.0)
        gained: Floats = volume.sum(axis=1).reshape(points.shape[:-1])
        return gained


def _children(point: Floats, high: Floats, holders: Floats) -> tuple[Floats, Floats]:
    """Return the bounds that take the place of those which a new point beats."""
    axes = np.arange(len(point))
    found, held = [], []
    for axis in axes:
        # A bound that the point only touches would own an empty box.
        real = (point[axis] > holders[:, axes != axis, axis]).all(axis=1)
        child, holder = high[real], holders[real]
        child[:, axis] = point[axis]
        holder[:, axis] = point
        found.append(child)
        held.append(holder)
    return np.concatenate(found), np.concatenate(held)


def complementary(
    boxes: Boxes, points: Floats, worth: Floats, count: int
) -> list[tuple[int, float]]:
    """Choose points that add to one another, the best first.

    What a chosen point already covers is subtracted from the worth of the others.

    Parameters
    ----------
    boxes
        The undominated region.
    points
        Where the candidates are expected, ``(candidates, axes)``.
    worth
        Expected improvement of each alone.
    count
        How many to choose at most.

    Returns
    -------
    list
        Index and remaining worth of each chosen point.
    """
    alone = np.maximum(boxes.gain(points), 1e-300)
    left = worth.copy()
    chosen: list[tuple[int, float]] = []
    covered = np.zeros(len(points))
    for _ in range(min(count, len(points))):
        best = int(left.argmax())
        if left[best] <= 0:
            break
        chosen.append((best, float(left[best])))
        covered = np.maximum(covered, boxes.gain(np.maximum(points, points[best])) / alone)
        left = worth * (1 - np.minimum(covered, 1.0))
        left[[index for index, _ in chosen]] = 0.0
    return chosen
