"""The networks that are looked at closely, and what a pool that has grown too large drops."""

from __future__ import annotations

from collections.abc import Container, Sequence

import numpy as np
import numpy.typing as npt

from autoopt.controller.staged.codes import Floats

Group = npt.NDArray[np.int64]
"""Positions in the pool of candidates of one network."""

HORIZON = 6
"""Complementary completions that are credited to a network: about what it will be given."""

FINALISTS = 8
"""Networks of each kind, there and new, that are looked at closely."""

LOOKED_AT = 8
"""Completions of each finalist that are looked at closely."""

ENOUGH = 12
"""Completions of each network that remain in a pool that has outgrown its capacity."""


def finalists(
    networks: Sequence[bytes],
    present: Container[bytes],
    worth: Floats,
    prices: tuple[Floats, Floats],
) -> tuple[list[Group], list[Group]]:
    """Return the most hopeful candidates of the most hopeful networks, those there and the new.

    Parameters
    ----------
    networks
        Network of each candidate.
    present
        Networks that are there.
    worth
        What each candidate may add at best.
    prices
        Seconds for the network of each, zero if it is there, and after.
    """
    members: dict[bytes, list[int]] = {}
    for index in np.argsort(-worth, kind="stable").tolist():
        if worth[index] <= 0:
            break
        members.setdefault(networks[index], []).append(index)
    ranked: dict[bool, list[tuple[float, Group]]] = {True: [], False: []}
    making, completing = prices
    for key, indices in members.items():
        group = np.array(indices[:LOOKED_AT])
        few = group[:HORIZON]
        rate = worth[few].sum() / (making[few[0]] + completing[few].sum())
        ranked[key in present].append((float(rate), group))
    there, new = (
        [group for _, group in sorted(list_, key=lambda item: -item[0])[:FINALISTS]]
        for list_ in ranked.values()
    )
    return there, new


def one_too_many(networks: Sequence[bytes], score: Floats) -> npt.NDArray[np.bool_]:
    """Say which candidates are more than enough of their network, the lowest score first."""
    counts: dict[bytes, int] = {}
    spare = np.zeros(len(score), dtype=bool)
    for index in np.argsort(-score, kind="stable").tolist():
        key = networks[index]
        counts[key] = counts.get(key, 0) + 1
        spare[index] = counts[key] > ENOUGH
    return spare
