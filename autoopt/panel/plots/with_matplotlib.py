"""The figures drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import matplotlib.pyplot as plt

from autoopt.panel.insight import hypervolume_steps
from autoopt.panel.messages import Objective, Row
from autoopt.panel.plots.frames import (
    LABELS,
    ParallelAxis,
    chosen_axes,
    group_of,
    importance_bars,
    parallel_axes,
    title_of,
    wants_log,
)
from autoopt.panel.points import Point, front_line, points_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACCENT: Final = "#2563d9"
_STYLES: Final[dict[str, dict[str, Any]]] = {
    "dominated": {"marker": "o", "color": "#8a93a3", "alpha": 0.6, "ls": "", "ms": 5},
    "outside": {"marker": "o", "mec": "#8a93a3", "mfc": "none", "alpha": 0.6, "ls": "", "ms": 5},
    "front": {"marker": "o", "color": _ACCENT, "ls": "", "ms": 6},
    "original": {"marker": "x", "color": "black", "ls": "", "ms": 8, "mew": 2},
    "recommended": {"marker": "*", "color": "#b86e00", "ls": "", "ms": 14},
}


def front(
    rows: Sequence[Row],
    objectives: Sequence[Objective],
    *,
    x: str | None = None,
    y: str | None = None,
) -> Figure:
    """Draw two objectives against each other, the front as a staircase, intervals as bars."""
    across, up = chosen_axes(objectives, x, y)
    figure, axes = _figure()
    points = points_of(rows, across["name"], up["name"])
    corners = front_line(points, across, up)
    if corners:
        axes.plot(*zip(*corners, strict=True), color=_ACCENT, lw=1.2, alpha=0.6, zorder=1)
    for group, label in LABELS.items():
        members = [point for point in points if group_of(point.row) == group]
        if members:
            _marks(axes, members, group, label)
    axes.set_xlabel(title_of(across))
    axes.set_ylabel(title_of(up))
    if wants_log(across, [point.x[0] for point in points]):
        axes.set_xscale("log")
    if wants_log(up, [point.y[0] for point in points]):
        axes.set_yscale("log")
    if points:
        axes.legend(frameon=False)
    return figure


def parallel(rows: Sequence[Row], objectives: Sequence[Objective]) -> Figure:
    """Draw a line a trial over choices and objectives, broken where a setting is absent."""
    measured = [row for row in rows if row["state"] == "ok"]
    axes_ = parallel_axes(measured, objectives)
    figure, axes = _figure(width=max(7.0, 1.3 * len(axes_)))
    ordered = sorted(range(len(measured)), key=lambda index: measured[index]["front"])
    for index in ordered:
        heights = [_height(axis, index) for axis in axes_]
        is_front = measured[index]["front"]
        colour, width, alpha = (_ACCENT, 1.4, 0.9) if is_front else ("#8a93a3", 0.7, 0.35)
        # NaN breaks the line; a lone value between two absences shows as a dot.
        axes.plot(range(len(axes_)), heights, color=colour, lw=width, alpha=alpha)
    for place, axis in enumerate(axes_):
        axes.axvline(place, color="black", lw=0.6, zorder=0)
        low, high = axis.ends
        names = axis.levels or (f"{low:.4g}", f"{high:.4g}")
        for rank, name in enumerate(names):
            height = (rank - low) / (high - low) if axis.levels else float(rank)
            axes.annotate(name, (place, height), xytext=(4, 0), textcoords="offset points", size=8)
    axes.set_xticks(range(len(axes_)), [axis.title for axis in axes_])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines["left"].set_visible(False)
    return figure


def history(
    rows: Sequence[Row],
    objectives: Sequence[Objective],
    *,
    x: str | None = None,
    y: str | None = None,
) -> Figure:
    """Draw how the hypervolume of two objectives grew."""
    across, up = chosen_axes(objectives, x, y)
    figure, axes = _figure()
    steps = hypervolume_steps(rows, across, up)
    if steps:
        axes.step(*zip(*steps, strict=True), where="post", color=_ACCENT)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("trial")
    axes.set_ylabel(f"hypervolume of {across['label']} and {up['label']}")
    return figure


def importance(rows: Sequence[Row], objectives: Sequence[Objective]) -> Figure:
    """Draw how much of each objective the choice in each slot explains."""
    bars = importance_bars(rows, objectives)
    figure, axes = _figure(height=1.4 + 0.5 * max(len(bars), 1))
    thickness = 0.8 / max(len(objectives), 1)
    for place, objective in enumerate(objectives):
        offset = ((len(objectives) - 1) / 2 - place) * thickness
        values = [shares[place] or 0.0 for shares in bars.values()]
        heights = [rank + offset for rank in range(len(bars))]
        axes.barh(heights, values, height=thickness * 0.9, label=objective["label"])
    axes.set_yticks(range(len(bars)), list(bars))
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the differences explained, ε²")
    if objectives:
        axes.legend(frameon=False)
    return figure


def _figure(*, width: float = 7.0, height: float = 4.4) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    # A notebook shows an open figure by itself, and the returned one once more.
    plt.close(figure)
    axes.grid(alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _marks(axes: Axes, members: Sequence[Point], group: str, label: str) -> None:
    axes.plot([p.x[0] for p in members], [p.y[0] for p in members], label=label, **_STYLES[group])
    if group in ("dominated", "outside"):
        return
    for point in members:
        look: dict[str, Any] = {"color": "#555555", "lw": 0.8, "alpha": 0.4, "zorder": 0}
        axes.plot(point.x[1:], [point.y[0]] * 2, **look)
        axes.plot([point.x[0]] * 2, point.y[1:], **look)


def _height(axis: ParallelAxis, index: int) -> float:
    place = axis.places[index]
    low, high = axis.ends
    return float("nan") if place is None else (place - low) / (high - low)
