"""A layer's weights as they are stored: codes, and what turns them back into numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoopt.precision.bits import Codes, pack, packed_size
from autoopt.precision.codebook import share_weights
from autoopt.precision.grids import Floats, Grid, nearest, place, spread


@dataclass(frozen=True, eq=False)
class Stored:
    """Weights of a layer as a matrix, one row an output channel.

    Attributes
    ----------
    grid
        What was asked for.
    bits
        Bits of a code: those of the grid, or fewer where a codebook came out smaller.
    codes
        One for each weight, unpacked.
    scales, zeros
        A number is ``(code - zero) * scale``; empty with a codebook.
    codebook
        The numbers that codes stand for; empty otherwise.
    """

    grid: Grid
    bits: int
    codes: Codes
    scales: Floats
    zeros: Floats
    codebook: Floats

    @property
    def packed(self) -> Codes:
        """The codes in as few bytes as they take."""
        return pack(self.codes, self.bits)

    @property
    def size(self) -> int:
        """Bytes of the packed codes and of what turns them back into numbers.

        Only an affine grid has to keep its zeros: those of the others follow from the bits.
        """
        zeros = self.zeros.nbytes if self.grid.scheme == "affine" else 0
        held = self.scales.nbytes + zeros + self.codebook.nbytes
        return packed_size(self.codes.size, self.bits) + held

    def restored(self) -> Floats:
        """Return the numbers that the codes stand for."""
        if self.codebook.size:
            return self.codebook[self.codes]
        shape = (self.codes.shape[0], self.codes.shape[1])
        scale, zero = (spread(values, shape, self.grid) for values in (self.scales, self.zeros))
        numbers: Floats = (self.codes.astype(np.float32) - zero) * scale
        return numbers


def store(rows: Floats, grid: Grid, *, seed: int = 0) -> Stored:
    """Bring a matrix of weights, one row an output channel, onto a grid."""
    if rows.ndim != 2 or not rows.size:
        raise ValueError(f"`rows` must be a matrix that is not empty, but got shape {rows.shape}.")
    if not np.isfinite(rows).all():
        raise ValueError("`rows` must be finite, but holds NaN or infinity.")
    none = np.zeros(0, np.float32)
    if grid.scheme == "codebook":
        book, codes = share_weights(rows, grid.clusters, seed=seed)
        bits = max(1, int(len(book) - 1).bit_length())
        return Stored(grid, bits, codes, none, none, book)
    scales, zeros = place(rows, grid)
    return Stored(grid, grid.bits, nearest(rows, scales, zeros, grid), scales, zeros, none)
