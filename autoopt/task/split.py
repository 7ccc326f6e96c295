"""Seeded, stratified splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# 60/20/20, interleaved so that a class of few samples still reaches every part.
SIXTY_TWENTY_TWENTY = (0, 1, 0, 2, 0)
HALVES = (0, 1)


def split(
    length: int, pattern: Sequence[int], *, seed: int, classes: npt.NDArray[np.int64] | None = None
) -> tuple[list[int], ...]:
    """Deal rows to parts like cards, class after class.

    Parameters
    ----------
    length
        Number of rows.
    pattern
        Part that each card goes to, repeated; its shares are the shares of the parts.
    seed
        Decides the order of the rows before dealing, and within each part.
    classes
        Class of each row: every part gets its share of every class, to within one pattern.

    Returns
    -------
    tuple of list of int
        Disjoint rows of each part, shuffled; together they are all rows.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(length)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    cards = np.resize(np.asarray(pattern), length)
    parts = range(max(pattern) + 1)
    return tuple(generator.permutation(order[cards == part]).tolist() for part in parts)
