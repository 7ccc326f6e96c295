"""Smaller networks that take over from the original: the first slot."""

from __future__ import annotations

from search_spaces.dimensions import Choice
from search_spaces.menu import Options

__all__ = ["STUDENTS"]

STUDENTS: Options = {
    # The original network.
    "none": {},
    # All hidden channels scaled alike, weights inherited by importance. Eighths, because kernels
    # are fastest on multiples of 8 channels; below a quarter, accuracy rarely comes back.
    "width": {"fraction": Choice([0.25, 0.375, 0.5, 0.75], usual=0.5)},
    # Repeated blocks that keep their shape are dropped. Coarse: most networks repeat a block
    # only two to four times, so finer fractions would name the same network.
    "depth": {"fraction": Choice([0.5, 0.75], usual=0.5)},
}
