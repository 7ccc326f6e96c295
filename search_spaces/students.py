"""Smaller networks that take over from the original: the first slot.

Those of a person's own stand beside them: ``search(..., students={"tiny": make_tiny})``.
"""

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
    # Both at once: smaller than either alone at the same fraction, so the steps are coarser, and
    # what needs no fewer blocks or channels is an option above.
    "width_depth": {
        "width": Choice([0.25, 0.5, 0.75], usual=0.5),
        "depth": Choice([0.5, 0.75], usual=0.5),
    },
    # The same shapes with new random weights. Pays where training is long: what is inherited then
    # holds a student back (Liu et al. 2019, arXiv 1810.05270). A share of 1 keeps all blocks.
    "fresh": {
        "width": Choice([0.25, 0.5], usual=0.5),
        "depth": Choice([0.5, 1.0], usual=1.0),
    },
}
