"""Evenly spaced numbers: where they lie, and the nearest of them.

Every number is ``(code - zero) * scale`` with a code from 0 to 2^b − 1. What differs is how `zero`
and `scale` come about, for the whole tensor, a row (output channel) or a group within a row:

- affine: from the least to the largest value, code = round((x − min) / (max − min) · (2^b − 1));
- symmetric: zero at the middle code 2^(b−1), so that 0 is 0; the lowest code stays unused;
- binary: sign(x) · mean |x| (XNOR-Net, arXiv 1603.05279), the scale of least squared error.

What lies outside of the range that a grid covers gets its nearest end: the range need not reach to
the least and the largest weight, see `Grid.ranges`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from autoopt.precision.weight_ranges import RANGES, weight_range

Floats = npt.NDArray[np.float32]
Scheme = Literal["symmetric", "affine", "codebook", "binary"]
Granularity = Literal["per_tensor", "per_channel", "per_group"]

# At few bits clipping the largest weights loses less than spreading the grid over them.
SEARCHED_BITS = 4


@dataclass(frozen=True)
class Grid:
    """Which numbers a layer's weights may take.

    Attributes
    ----------
    bits
        Bits of a code, from 1 to 8; of a codebook the most that its clusters take.
    scheme
        ``"symmetric"``, ``"affine"``, ``"codebook"`` or ``"binary"``.
    granularity
        What shares a scale: the tensor, an output channel, or a group within one.
    group
        Weights in a group; 0 unless `granularity` is ``"per_group"``.
    clusters
        Entries of the codebook; 0 for the other schemes.
    ranges
        How the range of weights is found that codes cover: ``"minmax"``, ``"percentile"``,
        ``"mse"``, ``"entropy"``, or ``"usual"``: of least squared error on a symmetric grid of
        4 bits and fewer, otherwise from the least to the largest weight.
    percentile
        Percent of the weights that a ``"percentile"`` range holds.
    whole_zeros
        Whether zero is one of the numbers of an affine grid: what multiplies integers needs it.
    """

    bits: int
    scheme: Scheme = "symmetric"
    granularity: Granularity = "per_channel"
    group: int = 0
    clusters: int = 0
    ranges: str = "usual"
    percentile: float = 99.9
    whole_zeros: bool = False

    def __post_init__(self) -> None:
        """Hold the bounds."""
        least = 1 if self.scheme in ("binary", "codebook", "affine") else 2
        if not least <= self.bits <= 8:
            raise ValueError(
                f"`bits` of a {self.scheme} grid must be from {least} to 8, but got {self.bits}."
            )
        if (self.granularity == "per_group") != (self.group > 0):
            raise ValueError(
                "`group` must be positive with granularity='per_group' and 0 otherwise, but got "
                f"(granularity={self.granularity!r}, group={self.group})."
            )
        if self.scheme == "codebook" and not 2 <= self.clusters <= 2**self.bits:
            raise ValueError(
                f"`clusters` must be from 2 to 2^bits = {2**self.bits}, but got {self.clusters}."
            )
        self._check_ranges()

    def _check_ranges(self) -> None:
        if self.ranges not in ("usual", *RANGES):
            known = ", ".join(("usual", *RANGES))
            raise ValueError(f"`ranges` must be one of {known}, but got {self.ranges!r}.")
        if self.ranges != "usual" and self.scheme in ("codebook", "binary"):
            raise ValueError(
                f"a {self.scheme} grid has no range that could be calibrated: its numbers follow "
                f"from the weights; ask for 'usual' instead of {self.ranges!r}."
            )
        if self.ranges == "entropy" and self.granularity != "per_tensor":
            raise ValueError(
                "entropy judges a histogram, and the weights that share a scale in "
                f"granularity={self.granularity!r} are too few for one; ask for per_tensor or mse."
            )


def in_groups(rows: Floats, grid: Grid) -> Floats:
    """Return a matrix as (rows, groups, weights): what shares a scale lies along the last axis.

    Where a row does not divide into groups its last weight is repeated, which moves no range.
    """
    if grid.granularity == "per_tensor":
        return rows.reshape(1, 1, -1)
    if grid.granularity == "per_channel":
        return rows[:, None, :]
    missing = -rows.shape[1] % grid.group
    return np.pad(rows, ((0, 0), (0, missing)), mode="edge").reshape(len(rows), -1, grid.group)


def spread(values: Floats, shape: tuple[int, int], grid: Grid) -> Floats:
    """Return a number for each weight of a matrix from one for each group."""
    if grid.granularity != "per_group":
        return np.broadcast_to(values, shape)
    return np.repeat(values, grid.group, axis=1)[:, : shape[1]]


def place(rows: Floats, grid: Grid) -> tuple[Floats, Floats]:
    """Return scales and zeros, each of shape (rows or 1, groups or 1), for a matrix of weights."""
    groups = in_groups(rows, grid)
    if grid.scheme == "binary":
        mean = np.abs(groups).mean(axis=2)
        scale = np.where(mean > 0, 2 * mean, 1.0).astype(np.float32)
        return scale, np.full_like(scale, 0.5)
    affine = grid.scheme == "affine"
    few = grid.bits <= SEARCHED_BITS and not affine
    usual = "mse" if few else "minmax"
    ranges = usual if grid.ranges == "usual" else grid.ranges
    low, high = weight_range(groups, ranges, grid.bits, affine=affine, percentile=grid.percentile)
    if affine and grid.whole_zeros:
        scale, zero = _affine(np.minimum(low, 0), np.maximum(high, 0), grid.bits)
        return scale, np.rint(zero)
    if affine:
        return _affine(low, high, grid.bits)
    top = 2 ** (grid.bits - 1) - 1
    scale = np.where(high > 0, high / np.float32(top), 1.0).astype(np.float32)
    return scale, np.full_like(scale, 2 ** (grid.bits - 1))


def nearest(rows: Floats, scales: Floats, zeros: Floats, grid: Grid) -> npt.NDArray[np.uint8]:
    """Return the code of the nearest number of the grid for each weight of a matrix."""
    if grid.scheme == "binary":
        return (rows >= 0).astype(np.uint8)
    lowest = 1 if grid.scheme == "symmetric" else 0
    scale, zero = (spread(values, _shape(rows), grid) for values in (scales, zeros))
    codes: npt.NDArray[np.uint8] = np.clip(
        np.rint(rows / scale + zero), lowest, 2**grid.bits - 1
    ).astype(np.uint8)
    return codes


def _affine(low: Floats, high: Floats, bits: int) -> tuple[Floats, Floats]:
    scale = ((high - low) / (2**bits - 1)).astype(np.float32)
    # A constant group is one number: code 0 stands for it.
    scale = np.where(scale > 0, scale, np.where(low != 0, np.abs(low), 1.0)).astype(np.float32)
    return scale, (-low / scale).astype(np.float32)


def _shape(rows: Floats) -> tuple[int, int]:
    return rows.shape[0], rows.shape[1]
