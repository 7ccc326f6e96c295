"""Numbers in few bits: grids, codebooks, packed codes and calibrated ranges, in NumPy.

This is the one place that holds the mathematics; training, profiles and runtimes all call it, so
that a 4-bit weight is the same number wherever it is used.
"""

from __future__ import annotations

from autoopt.precision.bits import fields, pack, pack_field, packed_size, unpack
from autoopt.precision.codebook import share_weights
from autoopt.precision.grids import Grid
from autoopt.precision.layers import (
    Weight,
    as_rows,
    holders,
    left_out,
    on_range,
    quantizable,
    shaped,
)
from autoopt.precision.ranges import CALIBRATIONS, Histogram, activation_range, exact_zero, widened
from autoopt.precision.stored import Stored, store

__all__ = [
    "CALIBRATIONS",
    "Grid",
    "Histogram",
    "Stored",
    "Weight",
    "activation_range",
    "as_rows",
    "exact_zero",
    "fields",
    "holders",
    "left_out",
    "on_range",
    "pack",
    "pack_field",
    "packed_size",
    "quantizable",
    "shaped",
    "share_weights",
    "store",
    "unpack",
    "widened",
]
