"""Several measurements of one candidate folded into one figure each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from autoopt.measurement import Measurement, Stat

NORMAL = 1.96
"""Half width of a 95 % interval in standard deviations."""

SPEEDUP = "speedup"
"""Name under which the spread of the speedup stands among those of the objectives."""


def spreads(groups: Iterable[Sequence[Measurement]], *, quality: str) -> dict[str, float]:
    """Return how far figures move from one measurement of a candidate to its next.

    Parameters
    ----------
    groups
        Measurements of one candidate each.
    quality
        Objective that is left out: its interval is that of the samples it was scored on, and
        those are the same every time.

    Returns
    -------
    dict
        Objective to the standard deviation of its logarithm, pooled over all candidates; without
        those that nothing measured twice tells of.
    """
    squares: dict[str, float] = {}
    freedom: dict[str, int] = {}
    for group in groups:
        if len(group) < 2:
            continue
        for name in _names(group):
            logs = [math.log(stat.value) for stat in _stats(group, name) if stat.value > 0]
            if name == quality or len(logs) < 2:
                continue
            mean = sum(logs) / len(logs)
            squares[name] = squares.get(name, 0.0) + sum((log - mean) ** 2 for log in logs)
            freedom[name] = freedom.get(name, 0) + len(logs) - 1
    return {name: math.sqrt(squares[name] / freedom[name]) for name in squares}


def combined(
    group: Sequence[Measurement], spread: Mapping[str, float], *, quality: str
) -> Measurement:
    """Return the first of several measurements with the figures of all.

    Each figure is the posterior mean of its logarithm under normal noise and a flat prior: weighted
    by the inverse of its variance, within one measurement and from one to the next.
    """
    first = group[0]
    stats = {
        name: averaged(_stats(group, name))
        if name == quality
        else posterior(_stats(group, name), spread.get(name, 0.0))
        for name in first.stats
    }
    found = _stats(group, SPEEDUP)
    speedup = posterior(found, spread.get(SPEEDUP, 0.0)) if found else None
    values = {**vars(first), "stats": stats, "speedup": speedup}
    return Measurement(**values)


def posterior(stats: Sequence[Stat], spread: float) -> Stat:
    """Return what several measurements of a positive figure say together.

    Parameters
    ----------
    stats
        Each with its 95 % interval.
    spread
        Standard deviation of the logarithm from one measurement to the next.
    """
    alone = len(stats) == 1 and not spread
    if alone or any(stat.low <= 0 for stat in stats):
        return stats[0] if len(stats) == 1 else averaged(stats)
    within = [math.log(stat.high / stat.low) / (2 * NORMAL) for stat in stats]
    variances = [deviation**2 + spread**2 for deviation in within]
    if not all(variances):
        return averaged(stats)
    whole = sum(1 / variance for variance in variances)
    logs = [math.log(stat.value) for stat in stats]
    mean = sum(log / variance for log, variance in zip(logs, variances, strict=True)) / whole
    reach = NORMAL / math.sqrt(whole)
    value, low, high = (math.exp(mean + shift) for shift in (0.0, -reach, reach))
    return Stat(value, low, high, sum(stat.n for stat in stats), stats[0].unit)


def averaged(stats: Sequence[Stat]) -> Stat:
    """Return the mean of figures whose intervals no repetition makes narrower."""
    if len({(stat.value, stat.low, stat.high) for stat in stats}) == 1:
        return stats[0]
    count = len(stats)
    value, low, high = (
        sum(getattr(stat, name) for stat in stats) / count for name in ("value", "low", "high")
    )
    return Stat(value, min(low, value), max(high, value), stats[0].n, stats[0].unit)


def _names(group: Sequence[Measurement]) -> list[str]:
    return [*group[0].stats, SPEEDUP]


def _stats(group: Sequence[Measurement], name: str) -> list[Stat]:
    """Return a figure of every measurement that has it."""
    found = [m.speedup if name == SPEEDUP else m.stats.get(name) for m in group]
    return [stat for stat in found if stat is not None]
