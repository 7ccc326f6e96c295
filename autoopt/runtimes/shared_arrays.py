"""Arrays in memory that two processes map: anonymous, so that nothing is left behind."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from autoopt.interfaces import Array

ALIGNMENT = 64
"""Bytes at whose multiples arrays begin, as kernels like them."""

Place = tuple[int, str, tuple[int, ...]]
"""Where an array lies, its element type and its shape."""


class SharedArrays:
    """A stretch of memory for the arrays of one message at a time; it grows as needed.

    Parameters
    ----------
    fd
        Of an anonymous file (Linux's ``memfd_create``), which both processes hold.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map: mmap.mmap | None = None

    @classmethod
    def new(cls, name: str) -> SharedArrays:
        """Return new memory; the name shows in ``/proc``."""
        return cls(os.memfd_create(f"autoopt-{name}"))

    def write(self, arrays: Sequence[Array]) -> list[Place]:
        """Copy arrays in, over what was there; return their places."""
        places: list[Place] = []
        end = ALIGNMENT  # never empty, so that it can be mapped
        for array in arrays:
            places.append((end, array.dtype.str, array.shape))
            end += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        if os.fstat(self.fd).st_size < end:
            os.ftruncate(self.fd, end)
        for array, view in zip(arrays, self.read(places), strict=True):
            np.copyto(view, array)
        return places

    def read(self, places: Sequence[Place]) -> list[Array]:
        """Return views of arrays, which hold until the other process writes again."""
        size = os.fstat(self.fd).st_size
        if self._map is None or len(self._map) < size:
            # The old one goes when its last view does.
            self._map = mmap.mmap(self.fd, size)
        return [np.ndarray(shape, dtype, self._map, start) for start, dtype, shape in places]

    def close(self) -> None:
        """Give the memory back, once the other process did too."""
        self._map = None
        os.close(self.fd)
