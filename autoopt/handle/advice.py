"""The recommended strategy, and how a strategy compares with the original in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from autoopt.constraint import Constraint, drop_constraint, parse_constraints
from autoopt.errors import ConstraintError
from autoopt.front import Front
from autoopt.history import History
from autoopt.measurement import Axis
from autoopt.record import Record

USUAL_DROP = 0.01
"""Loss of quality that a recommendation allows where nothing bounds the quality."""


def recommended(history: History) -> Record | None:
    """Return the fastest record within the bounds of the search, or None.

    A search that does not bound the quality is taken to allow `USUAL_DROP` of it.
    """
    if history.settings is None or 0 not in history.raw:
        return None
    front = bounded_front(history)
    try:
        return front.best(speed_axis(front))
    except ConstraintError:
        return None


def bounded_front(
    history: History,
    *,
    max_drop: float | None = None,
    constraints: Mapping[str, float | str] | None = None,
) -> Front:
    """Return the front under the bounds of the search and further ones.

    Parameters
    ----------
    history
        Of an opened search.
    max_drop
        Takes the place of the search's own.
    constraints
        Hold beside those of the search.

    Notes
    -----
    Where nothing bounds the quality, `USUAL_DROP` of it may be lost, whatever else is bounded:
    the fastest of at most 20 MB would be the fastest at all, right or wrong.
    """
    settings, front = history.settings, history.front
    if settings is None:
        return front
    quality, original = settings.axes[0], history.raw.get(0)
    bounds = [
        *parse_constraints(settings.constraints, settings.bounded_axes),
        *parse_constraints(constraints, settings.bounded_axes),
    ]
    drop = settings.max_drop if max_drop is None else max_drop
    if drop is None and not any(_limits(bound, quality) for bound in bounds):
        drop = USUAL_DROP
    if drop is not None and original is not None:
        bound = drop_constraint(quality, original, drop)
        bounds += [bound] if bound else []
    return replace(front, constraints=tuple(bounds))


def _limits(bound: Constraint, quality: Axis) -> bool:
    """Say whether a bound limits how bad the quality may be."""
    worse = "<=" if quality.direction == "minimize" else ">="
    return bound.objective == quality.name and bound.sense == worse


def speed_axis(front: Front) -> str:
    """Return the objective that "best" means: latency, else the first beside the quality."""
    names = [axis.name for axis in front.axes]
    return "latency" if "latency" in names else names[min(1, len(names) - 1)]


def compared(record: Record, original: Record | None, quality: Axis) -> str:
    """Return ``8.4× at −0.6 pt``: the speedup and the change of the quality."""
    words = []
    measurement = record.measurement
    if measurement and measurement.speedup:
        words.append(f"{measurement.speedup.value:.1f}×")
    now = record.stat(quality.name)
    then = original.stat(quality.name) if original else None
    if now and then:
        drop = now.value - then.value
        scaled = f"{abs(drop) * 100:.1f} pt" if quality.in_points else f"{abs(drop):.3g}"
        words.append(f"at {'+' if drop >= 0 else '−'}{scaled}")
    return " ".join(words)
