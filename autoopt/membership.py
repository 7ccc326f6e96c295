"""How likely a record is a member of the front, by the noise of what was measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autoopt.front import Front
from autoopt.record import Record
from autoopt.repeats import NORMAL

Floats = npt.NDArray[np.float64]

DRAWS = 256
"""Fronts that are drawn; a probability is then known to about 3 points."""


def membership(front: Front, *, draws: int = DRAWS, seed: int = 0) -> dict[int, float]:
    """Return number to the probability that a record is on the front without noise.

    The figures of every record are drawn from normal distributions with the standard deviations of
    their intervals, and the front is built of each draw. Quality is taken as it is: all candidates
    are scored on the same samples, so another measurement would not change their order.

    Parameters
    ----------
    front
        Records, objectives and bounds.
    draws
        How many fronts are drawn.
    seed
        Of the draws.

    Returns
    -------
    dict
        Records that no draw finds on the front are left out.
    """
    from moocore import is_nondominated

    records = _possible(front)
    if not records:
        return {}
    values, deviations = _figures(front, records)
    random = np.random.default_rng(seed)
    counts = np.zeros(len(records))
    for _ in range(draws):
        drawn = values + deviations * random.standard_normal(values.shape)
        feasible = np.flatnonzero(_keep_bounds(front, records, drawn))
        if len(feasible):
            counts[feasible[is_nondominated(drawn[feasible])]] += 1
    shares = counts / draws
    return {r.number: float(s) for r, s in zip(records, shares, strict=True) if s}


def noisy(front: Front, record: Record) -> bool:
    """Say whether another measurement of a record could tell more about it."""
    stats = [record.stat(axis.name) for axis in front.axes[1:]]
    return any(stat is not None and stat.low < stat.high for stat in stats)


def _possible(front: Front) -> list[Record]:
    """Return the records that no other one dominates by more than both intervals."""
    if not front.measured:
        return []
    values, deviations = _figures(front, front.measured)
    best, worst = values - 2 * NORMAL * deviations, values + 2 * NORMAL * deviations
    feasible = np.array(_keep_bounds(front, front.measured, worst))
    certain = worst[feasible]
    return [
        record
        for record, point in zip(front.measured, best, strict=True)
        if not ((certain <= point).all(axis=1) & (certain < point).any(axis=1)).any()
    ]


def _figures(front: Front, records: Sequence[Record]) -> tuple[Floats, Floats]:
    """Return values and standard deviations, a row a record, less is better."""
    stats = [[record.stat(axis.name) for axis in front.axes] for record in records]
    values = np.array([[stat.value if stat else np.nan for stat in row] for row in stats])
    deviations = np.array(
        [
            [(stat.high - stat.low) / (2 * NORMAL) if stat else np.nan for stat in row]
            for row in stats
        ]
    )
    deviations[:, 0] = 0.0
    return values * np.array([axis.sign for axis in front.axes]), deviations


def _keep_bounds(front: Front, records: Sequence[Record], drawn: Floats) -> list[bool]:
    """Say which rows keep all bounds; what is bounded and no objective counts as measured."""
    kept = np.ones(len(drawn), dtype=bool)
    names = [axis.name for axis in front.axes]
    for bound in front.constraints:
        if bound.objective in names:
            place = names.index(bound.objective)
            figures = drawn[:, place] * front.axes[place].sign
            kept &= figures <= bound.bound if bound.sense == "<=" else figures >= bound.bound
        else:
            kept &= np.array([bound.violation(record) <= 0 for record in records])
    return [bool(value) for value in kept]
