"""Which range of weights the codes of a grid should cover, for all that share a scale at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autoopt.precision.ranges import Histogram, entropy

Floats = npt.NDArray[np.float32]
Bounds = tuple[Floats, Floats]

RANGES = ("minmax", "percentile", "mse", "entropy")
SHRINKS = tuple(np.linspace(1.0, 0.1, 19).tolist())
"""Shares of the whole range that a search for the least squared error tries."""


def weight_range(
    groups: Floats, ranges: str, bits: int, *, affine: bool, percentile: float = 99.9
) -> Bounds:
    """Return the ends of a range for each group of weights.

    Parameters
    ----------
    groups
        Of shape (rows, groups, weights).
    ranges
        One of `RANGES`.
    bits
        Of a code.
    affine
        Whether the range may lie anywhere; otherwise it lies evenly about zero.
    percentile
        Percent of the weights that a ``"percentile"`` range holds.

    Returns
    -------
    tuple
        The least and the largest number, each of shape (rows, groups).
    """
    low, high = groups.min(axis=2), groups.max(axis=2)
    if ranges == "percentile":
        cut = (1 - percentile / 100) / 2
        low, high = np.quantile(groups, [cut, 1 - cut], axis=2).astype(np.float32)
    elif ranges == "entropy":
        low, high = _least_divergence(groups, bits)
    if not affine:
        high = np.maximum(-low, high)
        low = -high
    return _least_error(groups, low, high, bits, affine=affine) if ranges == "mse" else (low, high)


def _least_error(groups: Floats, low: Floats, high: Floats, bits: int, *, affine: bool) -> Bounds:
    """Return the range of least squared error among a few about the same middle."""
    steps = 2**bits - (1 if affine else 2)
    middle, half = (high + low)[..., None] / 2, (high - low)[..., None] / 2
    chosen, best = np.ones_like(half), np.full(half.shape, np.inf)
    for shrink in SHRINKS:
        step = np.where(half > 0, 2 * half * np.float32(shrink) / np.float32(steps), 1.0)
        start = middle - half * np.float32(shrink)
        rounded = np.clip(np.rint((groups - start) / step), 0, steps) * step + start
        error = ((rounded - groups) ** 2).sum(axis=2, keepdims=True)
        chosen = np.where(error < best, np.float32(shrink), chosen)
        best = np.minimum(error, best)
    half = (half * chosen).astype(np.float32)
    return (middle - half)[..., 0].astype(np.float32), (middle + half)[..., 0].astype(np.float32)


def _least_divergence(groups: Floats, bits: int) -> Bounds:
    """Return the range of least divergence of the weights, which all share one scale."""
    values = groups.reshape(-1)
    low, high = float(values.min()), float(values.max())
    found = entropy(Histogram.empty(low, high).add(values), bits)
    return tuple(np.full((1, 1), end, np.float32) for end in found)  # type: ignore[return-value]  # two ends
