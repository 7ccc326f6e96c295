"""The points of a scatter: which rows have a place on two axes, and the line through the front."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, TypeVar

from autoopt.panel.axes import Axis, fit_axis
from autoopt.panel.messages import Objective, Row

Interval: TypeAlias = tuple[float, float, float]
Kind: TypeAlias = Literal["original", "recommended", "baseline", "uniform", "search"]
Item = TypeVar("Item")

_LARGEST: Final = 1e100
"""Beyond this a value is no measurement, and sums of it would leave the range of a float."""


@dataclass(frozen=True, slots=True)
class Point:
    """A row with a value, and its interval, on both axes."""

    row: Row
    x: Interval
    y: Interval

    @property
    def kind(self) -> Kind:
        """What the point is drawn as."""
        if self.row["role"] == "original":
            return "original"
        return "recommended" if self.row["recommended"] else self.row["role"]


def interval_of(row: Row, objective: str) -> Interval | None:
    """Give value, low and high of a row, or ``None`` without a finite value."""
    stat = [*row["values"].get(objective, ()), None, None, None][:3]
    value, low, high = (
        number if number is not None and math.isfinite(number) and abs(number) < _LARGEST else None
        for number in stat
    )
    if value is None:
        return None
    return value, value if low is None else low, value if high is None else high


def points_of(rows: Sequence[Row], x: str, y: str) -> list[Point]:
    """Give the rows that were measured in both objectives, one a number, the last one given."""
    latest = {row["number"]: row for row in rows if row["state"] == "ok"}
    points = []
    for row in latest.values():
        across, up = interval_of(row, x), interval_of(row, y)
        if across is not None and up is not None:
            points.append(Point(row, across, up))
    return points


def spread(items: Sequence[Item], most: int, *, keep: Callable[[Item], bool]) -> list[Item]:
    """Give at most so many items, in their order: those to keep, and of the others every so many.

    The first and the last of the others stay, so that what is left spans what there was.
    """
    if len(items) <= most:
        return list(items)
    others = [place for place, item in enumerate(items) if not keep(item)]
    room = max(0, most - (len(items) - len(others)))
    steps = range(room) if others else ()
    chosen = {others[step * (len(others) - 1) // max(1, room - 1)] for step in steps}
    return [item for place, item in enumerate(items) if place in chosen or keep(item)]


def fit_axes(points: Sequence[Point], x: Objective, y: Objective) -> tuple[Axis, Axis]:
    """Fit both axes to the points; the front, the original and the pick decide what is seen."""
    good = [p for p in points if p.row["front"] and p.row["feasible"]]
    good = good or [p for p in points if p.row["front"]]
    core = [*good, *(p for p in points if p.kind in ("original", "recommended"))]
    of_core = {id(p) for p in core}
    rest = [p for p in points if id(p) not in of_core]
    return (
        fit_axis([p.x[0] for p in core], [p.x[0] for p in rest], log=_may_be_log(x)),
        fit_axis([p.y[0] for p in core], [p.y[0] for p in rest], log=_may_be_log(y)),
    )


def front_line(points: Sequence[Point], x: Objective, y: Objective) -> list[tuple[float, float]]:
    """Give the corners of the staircase that bounds what the front reaches on these two axes.

    Every point on or behind the line is known to be reachable, which a straight line from point
    to point would not say.
    """
    sign_x = 1.0 if x["direction"] == "minimize" else -1.0
    sign_y = 1.0 if y["direction"] == "minimize" else -1.0
    front = [p for p in points if p.row["front"]]
    ordered = sorted(front, key=lambda p: (sign_x * p.x[0], sign_y * p.y[0]))
    corners: list[tuple[float, float]] = []
    for point in ordered:
        if not corners:
            corners.append((point.x[0], point.y[0]))
        elif sign_y * point.y[0] < sign_y * corners[-1][1]:
            corners += [(point.x[0], corners[-1][1]), (point.x[0], point.y[0])]
    return corners


def default_axes(objectives: Sequence[Objective]) -> tuple[Objective, Objective] | None:
    """Give what to draw first: the first cost across, the first gain up; ``None`` if only one."""
    if len(objectives) < 2:
        return None
    x = next((o for o in objectives if o["direction"] == "minimize"), objectives[0])
    others = [o for o in objectives if o is not x]
    return x, next((o for o in others if o["direction"] == "maximize"), others[0])


def _may_be_log(objective: Objective) -> bool:
    # A score without a unit, such as an accuracy, is compared by differences, not by factors.
    return bool(objective["unit"])
