"""Codes of few bits packed into bytes, to the byte.

A code of b bits is cut into fields of 8, 4, 2 and 1 bits (the binary digits of b: 6 = 4 + 2), and
each field of all codes is packed on its own, so that no code straddles a byte: any runtime unpacks
them with a shift and a mask.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint8]


def fields(bits: int) -> tuple[tuple[int, int], ...]:
    """Return ``(width, shift)`` of each field of a code, the low bits first."""
    if not 1 <= bits <= 8:
        raise ValueError(f"`bits` must be from 1 to 8, but got {bits}.")
    found: list[tuple[int, int]] = []
    shift = 0
    for width in (8, 4, 2, 1):
        if bits & width:
            found.append((width, shift))
            shift += width
    return tuple(found)


def packed_size(count: int, bits: int) -> int:
    """Return the bytes that `count` codes of `bits` bits take."""
    return sum(-(-count * width // 8) for width, _ in fields(bits))


def pack_field(codes: Codes, width: int, shift: int = 0) -> Codes:
    """Pack one field of flat codes: the first code in the low bits of the first byte."""
    values = (codes.reshape(-1) >> shift) & (2**width - 1)
    per_byte = 8 // width
    filled = np.zeros(-(-values.size // per_byte) * per_byte, np.uint8)
    filled[: values.size] = values
    places = np.arange(0, 8, width, dtype=np.uint8)
    packed: Codes = np.bitwise_or.reduce(filled.reshape(-1, per_byte) << places, axis=1)
    return packed


def pack(codes: Codes, bits: int) -> Codes:
    """Pack codes from 0 to 2^bits − 1: their fields one after the other."""
    return np.concatenate([pack_field(codes, width, shift) for width, shift in fields(bits)])


def unpack(packed: Codes, bits: int, count: int) -> Codes:
    """Return the `count` flat codes that `pack` packed."""
    codes = np.zeros(count, np.uint8)
    start = 0
    for width, shift in fields(bits):
        size = -(-count * width // 8)
        part = packed[start : start + size, None]
        places = np.arange(0, 8, width, dtype=np.uint8)
        codes |= (((part >> places) & (2**width - 1)).reshape(-1)[:count] << shift).astype(np.uint8)
        start += size
    return codes
