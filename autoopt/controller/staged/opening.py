"""What is tried whatever models say: a few networks far apart, and other ways to serve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from autoopt.controller.staged.candidates import Candidates
from autoopt.controller.staged.codes import Code, Codes, Floats, keys

NETWORKS, COMPLETIONS = 3, 2
"""Networks that are made first, the original among them, and the completions of each."""

DRAWN = 300
"""Points that the next one is chosen from."""

FEW = 12
"""The same where anything else than what is known already will do."""

REACH = 0.7
"""How far networks may lie from the original, of the way to the ends of each range."""


def steps(
    codes: Codes, observed: Code, present: Mapping[bytes, Code], random: np.random.Generator
) -> Iterator[Code]:
    """Yield the points that the next one may be chosen from; if none can be, the next points.

    Parameters
    ----------
    codes
        Of the space.
    observed
        What was measured, the original first.
    present
        Networks that are there, a row each.
    random
        For drawing.
    """
    drawn = codes.draw(DRAWN, random)
    if not len(observed):
        yield drawn
        return
    counts: dict[bytes, int] = dict.fromkeys(present, 0)
    for key in keys(observed[:, codes.network]):
        counts[key] = counts.get(key, 0) + 1
    unfinished = [key for key, count in counts.items() if count < COMPLETIONS and key in present]
    if unfinished and 1 < len(counts) <= NETWORKS:
        yield codes.tidy(np.where(codes.network, present[unfinished[-1]], drawn))
    if len(counts) < NETWORKS:
        yield _nearer(codes, drawn, observed[0], random)


def farthest(pool: Candidates, fits: npt.NDArray[np.bool_], seen: Floats) -> int:
    """Return the position of the candidate that is least like all that was seen."""
    inputs = pool.points.inputs
    if not len(seen):
        seen = np.zeros((1, inputs.shape[1]))
    distance = ((inputs[:, None] - seen) ** 2).sum(axis=2).min(axis=1)
    return int(np.where(fits, distance, -1.0).argmax())


def served_otherwise(codes: Codes, observed: Code, random: np.random.Generator) -> Code:
    """Return artefacts that are there, served in ways drawn at random.

    It costs one measurement and shows what the models' own choices would not: how settings that
    are bad one at a time work together.
    """
    known = observed[random.integers(0, len(observed), FEW)]
    return codes.tidy(np.where(codes.built, known, codes.draw(FEW, random)))


def _nearer(codes: Codes, drawn: Code, original: Code, random: np.random.Generator) -> Code:
    """Return points with networks nearer to the original than most: far ones rarely are of use."""
    ordered = np.array([column.ordered for column in codes.columns])
    share = random.uniform(0.0, REACH, drawn.shape)
    nearer = np.round(original + share * (drawn - original)).astype(np.int16)
    return codes.tidy(np.where(codes.network & ordered, nearer, drawn))
