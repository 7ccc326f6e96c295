"""Calibration: which range of an activation its codes should cover.

All but the least and largest value are found on a histogram: rare outliers stretch a grid so far
that the many values in the middle share a few codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

BINS = 2048
# Shares of the full range that are tried; below a tenth nearly everything would be clipped.
SHARES = np.linspace(1.0, 0.1, 91)

Range = tuple[float, float]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Histogram:
    """Values of an activation, counted in bins of equal width.

    Attributes
    ----------
    low, high
        The least and the largest value.
    counts
        Values in each bin.
    """

    low: float
    high: float
    counts: Doubles

    @classmethod
    def empty(cls, low: float, high: float, bins: int = BINS) -> Histogram:
        """Return a histogram without values, to `add` to."""
        return cls(low, high, np.zeros(bins))

    def add(self, values: npt.NDArray[np.float32]) -> Histogram:
        """Return this histogram with some more values, which must lie within the range."""
        high = self.high if self.high > self.low else self.low + 1.0
        found, _ = np.histogram(values, len(self.counts), (self.low, high))
        return Histogram(self.low, self.high, self.counts + found)

    @property
    def centres(self) -> Doubles:
        """Middle of each bin."""
        edges = np.linspace(self.low, self.high, len(self.counts) + 1)
        middle: Doubles = (edges[1:] + edges[:-1]) / 2
        return middle


def minmax(histogram: Histogram, bits: int = 8, *, share: float = 100.0) -> Range:
    """Return the least and the largest value."""
    return histogram.low, histogram.high


def percentile(histogram: Histogram, bits: int = 8, *, share: float = 99.99) -> Range:
    """Return the range that holds the middle `share` percent of the values."""
    if not 50 < share <= 100:
        raise ValueError(f"`share` must be above 50 and at most 100 percent, but got {share}.")
    total = np.cumsum(histogram.counts)
    if not total[-1]:
        return histogram.low, histogram.high
    cut = (100 - share) / 200 * total[-1]
    edges = np.linspace(histogram.low, histogram.high, len(total) + 1)
    first = int(np.searchsorted(total, cut, side="right"))
    last = int(np.searchsorted(total, total[-1] - cut, side="left"))
    return float(edges[first]), float(edges[last + 1])


def least_squares(histogram: Histogram, bits: int = 8, *, share: float = 100.0) -> Range:
    """Return the range of least mean squared rounding and clipping error.

    Each end is moved on its own, the other held, until neither gets better.
    """
    best = (histogram.low, histogram.high)
    lowest = _squared_error(histogram, best, bits)
    for _ in range(3):
        before = best
        for end in (0, 1):
            for candidate in _moved(histogram, best, end):
                error = _squared_error(histogram, candidate, bits)
                if error < lowest:
                    best, lowest = candidate, error
        if best == before:
            break
    return best


def entropy(histogram: Histogram, bits: int = 8, *, share: float = 100.0) -> Range:
    """Return the range whose quantized values diverge least from the true ones.

    The Kullback–Leibler divergence of the distribution in 2^b levels from the clipped one
    (Migacz, 8-bit inference with TensorRT, GTC 2017), over ranges that shrink towards zero.
    """
    histogram = _without_zeros(histogram)
    best, lowest = (histogram.low, histogram.high), np.inf
    for part in SHARES:
        candidate = (float(histogram.low * part), float(histogram.high * part))
        divergence = _divergence(histogram, candidate, bits)
        if divergence < lowest:
            best, lowest = candidate, divergence
    return best


CALIBRATIONS: Mapping[str, Callable[..., Range]] = MappingProxyType(
    {"minmax": minmax, "percentile": percentile, "mse": least_squares, "entropy": entropy}
)
"""Name → function that gives a range for a histogram."""


def activation_range(
    histogram: Histogram, calibration: str, *, symmetric: bool, share: float = 99.99
) -> Range:
    """Return the range that an activation's codes cover: it holds zero, so that zero is exact."""
    if calibration not in CALIBRATIONS:
        raise ValueError(
            f"`calibration` must be one of {', '.join(CALIBRATIONS)}, but got {calibration!r}."
        )
    return widened(CALIBRATIONS[calibration](histogram, share=share), symmetric=symmetric)


def widened(bounds: Range, *, symmetric: bool) -> Range:
    """Return a range that holds zero, and lies evenly about it if asked."""
    low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
    if symmetric:
        low, high = -max(-low, high), max(-low, high)
    return (low, high) if high > low else (low, low + 1.0)


def exact_zero(bounds: Range, bits: int = 8) -> Range:
    """Move a range that holds zero by half a step at most, so that one of its levels is zero."""
    levels = 2**bits - 1
    step = (bounds[1] - bounds[0]) / levels
    below = round(-bounds[0] / step)
    return -below * step, (levels - below) * step


def _moved(histogram: Histogram, bounds: Range, end: int) -> list[Range]:
    low, high = bounds
    ends = [float((histogram.low, histogram.high)[end] * part) for part in SHARES]
    moved = [(value, high) if end == 0 else (low, value) for value in ends]
    return [candidate for candidate in moved if candidate[1] > candidate[0]]


def _squared_error(histogram: Histogram, bounds: Range, bits: int) -> float:
    low, high = bounds
    if not high > low:
        return float("inf")
    step = (high - low) / (2**bits - 1)
    values = histogram.centres
    rounded = np.clip(np.rint((values - low) / step), 0, 2**bits - 1) * step + low
    return float((histogram.counts * (rounded - values) ** 2).sum())


def _without_zeros(histogram: Histogram) -> Histogram:
    """Return a histogram whose bin of zero holds no more values than those beside it.

    Zero is a level of every grid. The many zeros behind a ReLU lose nothing, and in the bins of a
    level they would hide what the others lose.
    """
    if not histogram.low <= 0 <= histogram.high or len(histogram.counts) < 3:
        return histogram
    place = int(np.abs(histogram.centres).argmin())
    beside = [i for i in (place - 1, place + 1) if 0 <= i < len(histogram.counts)]
    counts = histogram.counts.copy()
    counts[place] = min(counts[place], max(counts[i] for i in beside))
    return Histogram(histogram.low, histogram.high, counts)


def _divergence(histogram: Histogram, bounds: Range, bits: int) -> float:
    """Return KL(clipped ‖ quantized) over the bins inside of the bounds."""
    low, high = bounds
    inside = np.flatnonzero((histogram.centres >= low) & (histogram.centres <= high))
    if len(inside) < 2 or not histogram.counts.any():
        return float("inf")
    first, last = inside[0], inside[-1] + 1
    held = histogram.counts[first:last]
    clipped = held.copy()
    clipped[0] += histogram.counts[:first].sum()
    clipped[-1] += histogram.counts[last:].sum()
    levels = np.minimum((np.arange(len(held)) * 2**bits) // len(held), 2**bits - 1)
    # Each level's values are spread evenly over its bins that hold any: what rounding forgets.
    sums = np.bincount(levels, held)
    filled = np.bincount(levels, held > 0)
    quantized = np.where(held > 0, (sums / np.maximum(filled, 1))[levels], 0.0)
    # Where clipped values fall on an empty bin the divergence would be infinite.
    floor = 1e-4 * max(float(quantized.sum()), 1.0) / len(held)
    p, q = clipped / clipped.sum(), np.maximum(quantized, floor)
    q = q / q.sum()
    some = p > 0
    return float((p[some] * np.log(p[some] / q[some])).sum())
