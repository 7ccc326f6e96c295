"""The quality below which a network cannot matter, whatever its completions are."""

from __future__ import annotations

from autoopt.history import History
from autoopt.measurement import Axis


def quality_bar(history: History) -> float | None:
    """Return the bound that was asked for of the quality, or None where there is none.

    Half of the interval of the original's quality is let go: by so much a completion may do better
    than its network.
    """
    if history.settings is None or 0 not in history.raw:
        return None
    axis = history.settings.axes[0]
    sense = "<=" if axis.sign > 0 else ">="
    bounds = [c.bound for c in history.constraints if (c.objective, c.sense) == (axis.name, sense)]
    stat = history.raw[0].stat(axis.name)
    if not bounds or stat is None:
        return None
    return stricter(axis, *bounds) + axis.sign * (stat.high - stat.low) / 2


def stricter(axis: Axis, *bars: float) -> float:
    """Return the bar that is hardest to reach."""
    return min(bars, key=lambda bar: axis.sign * bar)
