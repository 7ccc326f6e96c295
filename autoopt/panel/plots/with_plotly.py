"""The figures drawn by plotly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import plotly.graph_objects as go

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
from autoopt.panel.points import front_line, interval_of, points_of

_MARKERS: Final[dict[str, dict[str, Any]]] = {
    "dominated": {"symbol": "circle", "color": "#8a93a3", "opacity": 0.6},
    "outside": {"symbol": "circle-open", "color": "#8a93a3", "opacity": 0.6},
    "front": {"symbol": "circle", "color": "#2563d9", "size": 8},
    "original": {"symbol": "x", "color": "black", "size": 9},
    "recommended": {"symbol": "star", "color": "#b86e00", "size": 14},
}


def front(
    rows: Sequence[Row],
    objectives: Sequence[Objective],
    *,
    x: str | None = None,
    y: str | None = None,
) -> go.Figure:
    """Draw two objectives against each other, the front as a staircase, intervals as bars."""
    across, up = chosen_axes(objectives, x, y)
    points = points_of(rows, across["name"], up["name"])
    figure = go.Figure(layout={"template": "simple_white"})
    corners = front_line(points, across, up)
    line = {"color": "#2563d9", "width": 1}
    figure.add_scatter(
        x=[a for a, _ in corners], y=[b for _, b in corners], mode="lines", line=line, name="line"
    )
    for group, label in LABELS.items():
        members = [point for point in points if group_of(point.row) == group]
        # plotly takes <b> in a text for markup, and names are the person's own data.
        texts = [f"#{p.row['number']} {p.row['summary']}".replace("<", "&lt;") for p in members]
        figure.add_scatter(
            x=[p.x[0] for p in members],
            y=[p.y[0] for p in members],
            mode="markers",
            marker=_MARKERS[group],
            name=label,
            text=texts,
            error_x=_ends([p.x for p in members]),
            error_y=_ends([p.y for p in members]),
        )
    for name, objective, values in (
        ("xaxis", across, [p.x[0] for p in points]),
        ("yaxis", up, [p.y[0] for p in points]),
    ):
        scale = "log" if wants_log(objective, values) else "linear"
        figure.update_layout({name: {"title": {"text": title_of(objective)}, "type": scale}})
    return figure


def parallel(rows: Sequence[Row], objectives: Sequence[Objective]) -> go.Figure:
    """Draw a line a trial over choices and objectives.

    plotly cannot break a line: an absent setting is a level of its own, which the axis says, and
    trials that lack the value of an objective are left out, which the title says.
    """
    measured = [row for row in rows if row["state"] == "ok"]
    known = [o for o in objectives if any(interval_of(row, o["name"]) for row in measured)]
    whole = [row for row in measured if all(interval_of(row, o["name"]) for o in known)]
    dimensions = [_dimension(axis) for axis in parallel_axes(whole, known)]
    colours = [float(row["front"]) for row in whole]
    line = {"color": colours, "colorscale": [[0, "#c3c9d4"], [1, "#2563d9"]], "cmin": 0, "cmax": 1}
    figure = go.Figure(go.Parcoords(dimensions=dimensions, line=line))
    notes = [f"{o['label']} is not known of any trial" for o in objectives if o not in known]
    if len(whole) < len(measured):
        count = f"{len(measured) - len(whole)} of {len(measured)} trials"
        notes.insert(0, f"without {count} that lack the value of an objective")
    if measured and notes:
        figure.update_layout(title_text="; ".join(notes).replace("<", "&lt;"))
    return figure


def history(
    rows: Sequence[Row],
    objectives: Sequence[Objective],
    *,
    x: str | None = None,
    y: str | None = None,
) -> go.Figure:
    """Draw how the hypervolume of two objectives grew."""
    across, up = chosen_axes(objectives, x, y)
    steps = hypervolume_steps(rows, across, up)
    figure = go.Figure(layout={"template": "simple_white"})
    line = {"shape": "hv", "color": "#2563d9"}
    figure.add_scatter(x=[a for a, _ in steps], y=[b for _, b in steps], mode="lines", line=line)
    title = f"hypervolume of {across['label']} and {up['label']}"
    figure.update_layout(xaxis_title="trial", yaxis_title=title, yaxis_range=[0, 1.02])
    return figure


def importance(rows: Sequence[Row], objectives: Sequence[Objective]) -> go.Figure:
    """Draw how much of each objective the choice in each slot explains."""
    bars = importance_bars(rows, objectives)
    figure = go.Figure(layout={"template": "simple_white"})
    for place, objective in enumerate(objectives):
        shares = [values[place] or 0.0 for values in bars.values()]
        figure.add_bar(x=shares, y=list(bars), orientation="h", name=objective["label"])
    figure.update_layout(xaxis_title="share of the differences explained, ε²", xaxis_range=[0, 1])
    return figure


def _ends(stats: Sequence[tuple[float, float, float]]) -> dict[str, Any]:
    return {
        "type": "data",
        "array": [high - value for value, _, high in stats],
        "arrayminus": [value - low for value, low, _ in stats],
        "thickness": 0.7,
        "width": 0,
    }


def _dimension(axis: ParallelAxis) -> dict[str, Any]:
    # Only choices may be absent here, and their levels begin at 0.
    values = [-1.0 if place is None else place for place in axis.places]
    ticks = list(range(len(axis.levels)))
    names = list(axis.levels)
    label = axis.title.replace("\n", " · ")
    if None in axis.places:
        ticks, names = [-1, *ticks], ["absent", *names]
        label += " (absent: no such setting)"
    named = {"tickvals": ticks, "ticktext": names} if names else {}
    return {"label": label, "values": values, **named}
