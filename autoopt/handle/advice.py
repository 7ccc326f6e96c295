"""The recommended strategy, and how a strategy compares with the original in a few words."""

from __future__ import annotations

from dataclasses import replace

from autoopt.constraint import drop_constraint
from autoopt.errors import ConstraintError
from autoopt.front import Front
from autoopt.history import History
from autoopt.record import Record

USUAL_DROP = 0.01
"""Loss of quality that a recommendation allows when the search was given no bound."""


def recommended(history: History) -> Record | None:
    """Return the fastest record within the bounds of the search, or None.

    A search without any bound is taken to allow `USUAL_DROP` of the quality.
    """
    original = history.raw.get(0)
    if history.settings is None or original is None:
        return None
    front = history.front
    axis = history.settings.axes[0]
    if not front.constraints and (bound := drop_constraint(axis, original, USUAL_DROP)):
        front = replace(front, constraints=(bound,))
    try:
        return front.best(speed_axis(front))
    except ConstraintError:
        return None


def speed_axis(front: Front) -> str:
    """Return the objective that "best" means: latency, else the first beside the quality."""
    names = [axis.name for axis in front.axes]
    return "latency" if "latency" in names else names[min(1, len(names) - 1)]


def compared(record: Record, original: Record | None, quality: str) -> str:
    """Return ``8.4× at −0.6 pt``: the speedup and the change of the quality."""
    words = []
    measurement = record.measurement
    if measurement and measurement.speedup:
        words.append(f"{measurement.speedup.value:.1f}×")
    now, then = record.stat(quality), original.stat(quality) if original else None
    if now and then:
        drop = now.value - then.value
        scaled = f"{abs(drop) * 100:.1f} pt" if quality == "accuracy" else f"{abs(drop):.3g}"
        words.append(f"at {'+' if drop >= 0 else '−'}{scaled}")
    return " ".join(words)
