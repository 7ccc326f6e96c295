"""Weights as small integers: symmetric, one scale an output channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

# At few bits clipping the largest weights loses less than spreading the grid over them.
SHRINKS = {8: (1.0,), 4: tuple(np.linspace(1.0, 0.5, 11).tolist())}


def round_weights(
    weights: npt.NDArray[np.float32], bits: int, *, axis: int = 0, per_channel: bool = True
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Round weights to integers of `bits` bits with the scale of least squared error.

    Parameters
    ----------
    weights
        Any shape.
    bits
        8 or 4.
    axis
        Axis of the output channels.
    per_channel
        One scale a channel; otherwise one for all.

    Returns
    -------
    tuple
        Integers of the same shape, and scales of the length of `axis`:
        ``weights ≈ integers * scales``.
    """
    top = 2 ** (bits - 1) - 1
    rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
    grouped = rows if per_channel else rows.reshape(1, -1)
    largest = np.abs(grouped).max(axis=1, keepdims=True)
    scale = np.where(largest > 0, largest / top, 1.0).astype(np.float32)
    best = np.full(len(grouped), np.inf)
    chosen = scale.copy()
    for shrink in SHRINKS[bits]:
        trial = scale * np.float32(shrink)
        error = ((np.clip(np.rint(grouped / trial), -top, top) * trial - grouped) ** 2).sum(axis=1)
        better = error < best
        best[better] = error[better]
        chosen[better] = trial[better]
    scales = np.broadcast_to(chosen.reshape(-1), weights.shape[axis]).astype(np.float32)
    shape = [1] * weights.ndim
    shape[axis] = -1
    integers = np.clip(np.rint(weights / scales.reshape(shape)), -top, top).astype(np.int8)
    return integers, scales


def pack_nibbles(integers: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """Put two integers of 4 bits into a byte, the first into the low half; flat."""
    flat: Any = integers.reshape(-1).astype(np.uint8) & 0x0F
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    packed: npt.NDArray[np.uint8] = flat[0::2] | (flat[1::2] << 4)
    return packed
