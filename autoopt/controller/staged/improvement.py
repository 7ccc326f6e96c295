"""How much a point would add to the hypervolume: exact, for many points at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ranks = npt.NDArray[np.int64]


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
        from moocore import filter_dominated

        inside = front[(front < reference).all(axis=1)]
        points = filter_dominated(inside) if len(inside) else inside
        count, axes = points.shape
        # On ranks: where two points share a coordinate, one of them must count as the smaller.
        order = points.argsort(axis=0, kind="stable")
        ranks = order.argsort(axis=0)
        high = np.full((1, axes), count)
        # Of each bound the point that holds it on each axis; at first nothing does.
        holders = np.full((1, axes, axes), -1)
        holders[0, np.arange(axes), np.arange(axes)] = count
        for point in ranks:
            beaten = (point < high).all(axis=1)
            new_high, new_holders = _children(point, high[beaten], holders[beaten])
            high = np.concatenate([high[~beaten], new_high])
            holders = np.concatenate([holders[~beaten], new_holders])
        low = np.full_like(high, -1)
        for axis in range(1, axes):
            low[:, axis] = holders[:, :axis, axis].max(axis=1)
        # The last row is what rank -1 finds: nothing bounds that side.
        values = np.vstack([np.sort(points, axis=0), reference, np.full(axes, -np.inf)])
        return cls(np.take_along_axis(values, low, axis=0),
                   np.take_along_axis(values, high, axis=0))  # fmt: skip

    def gain(self, points: Floats) -> Floats:
        """Return the hypervolume that each point alone would add; any shape ``(..., axes)``."""
        flat = points.reshape(-1, points.shape[-1])
        volume = np.ones((len(flat), len(self.high)))
        for axis in range(flat.shape[1]):
            bottom = np.maximum(flat[:, axis, None], self.low[:, axis])
            volume *= np.maximum(self.high[:, axis] - bottom, 0.0)
        gained: Floats = volume.sum(axis=1).reshape(points.shape[:-1])
        return gained


def _children(point: Ranks, high: Ranks, holders: Ranks) -> tuple[Ranks, Ranks]:
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
