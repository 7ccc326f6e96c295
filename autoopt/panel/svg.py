"""The Pareto front as one SVG that needs no script and follows the page's colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from autoopt.errors import UnknownNameError
from autoopt.panel.axes import Axis, format_interval, format_value
from autoopt.panel.messages import Objective, Row
from autoopt.panel.points import Point, fit_axes, front_line, points_of, spread

WIDTH: Final = 760
HEIGHT: Final = 430
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 736, 62, 374

SHAPES: Final = {
    "search": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
    "baseline": "M-4-4h8v8h-8z",
    "uniform": "M0-5.6L5.6 0L0 5.6L-5.6 0z",
    "original": "M-5-5L5 5M5-5L-5 5",
    "recommended": (
        "M0-9L2.23-3.07L8.56-2.78L3.61 1.17L5.29 7.28L0 3.8L-5.29 7.28L-3.61 1.17L-8.56-2.78"
        "L-2.23-3.07z"
    ),
}
"""Outlines of the marks, around (0, 0)."""

MOST_MARKS: Final = 400
"""Up to so many points each is an element with a text; of more, those behind are one outline."""

MOST_DRAWN: Final = 600
"""At most so many points of the front are drawn, and of those behind it: a file is to be sent."""

_LEGEND: Final = (
    ("recommended", "recommended", 112),
    ("original", "original", 76),
    ("search", "search", 68),
    ("uniform", "one technique", 112),
    ("baseline", "other runtime", 92),
)

# Colours stand in attributes too, in tones that can be read on light and on dark, because some
# pages strip <style>. light-dark() follows the colour scheme of the page that shows the figure,
# which is prefers-color-scheme only where that page supports it.
STYLE: Final = """
.autoopt{--ao-accent:#3b7de8;--ao-star:#d48a06}
@supports (color:light-dark(red,red)){.autoopt{--ao-accent:light-dark(#2563d9,#7fb0ff);\
--ao-star:light-dark(#b86e00,#ffc247)}}
[data-jp-theme-light="false"] .autoopt{--ao-accent:#7fb0ff;--ao-star:#ffc247}
[data-jp-theme-light="true"] .autoopt{--ao-accent:#2563d9;--ao-star:#b86e00}
.autoopt text{font:11.5px system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;\
font-variant-numeric:tabular-nums}
.autoopt .ao-title{font-size:12.5px;font-weight:600}
.autoopt .ao-accent{fill:var(--ao-accent);stroke:var(--ao-accent)}
.autoopt .ao-star{fill:var(--ao-star);stroke:var(--ao-star)}
.autoopt .ao-line{stroke:var(--ao-accent)}
.autoopt .ao-hollow{fill:none}
"""


def front_svg(
    rows: Sequence[Row],
    objectives: Sequence[Objective],
    *,
    x: str,
    y: str,
    star: str = "recommended",
) -> str:
    """Draw a scatter of two objectives as a self-contained SVG.

    Parameters
    ----------
    rows
        Trials; those that failed or have no finite value on an axis are left out.
    objectives
        What the search optimises.
    x, y
        Names of the objectives across and up.
    star
        What the legend calls the strategy that is marked as recommended.

    Returns
    -------
    str
        An ``<svg>`` element in which all text is escaped.

    Raises
    ------
    UnknownNameError
        If `x` or `y` is no objective.
    """
    across, up = _objective(objectives, x), _objective(objectives, y)
    points = points_of(rows, x, y)
    axes = fit_axes(points, across, up)
    drawn = _drawn(points)
    label = f"Scatter of {up['label']} against {across['label']}, {len(points)} strategies"
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="autoopt" role="img" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}" width="100%" style="max-width:{WIDTH}px;height:auto" '
            f'fill="currentColor" font-family="sans-serif" font-size="11.5">'
        ),
        f"<title>{escape(label)}</title><style>{STYLE}</style>",
        _grid(*axes),
        _titles(across, up),
        _legend(points, star),
        _reference(points, *axes) if points else _empty(),
        _line(front_line(drawn, across, up), *axes),
        _marks(drawn, (across, up), axes),
        _footnote(points, len(drawn), *axes),
        "</svg>",
    ]
    return "".join(parts)


def _objective(objectives: Sequence[Objective], name: str) -> Objective:
    for objective in objectives:
        if objective["name"] == name:
            return objective
    raise UnknownNameError("objective", name, (o["name"] for o in objectives))


def _px(axis: Axis, value: float) -> float:
    return _LEFT + axis.position(value) * (_RIGHT - _LEFT)


def _py(axis: Axis, value: float) -> float:
    return _BOTTOM - axis.position(value) * (_BOTTOM - _TOP)


def _grid(across: Axis, up: Axis) -> str:
    lines, texts = [], []
    for tick, label in zip(across.ticks, across.labels(), strict=True):
        place = _px(across, tick)
        lines.append(f"M{place:.1f} {_TOP}V{_BOTTOM}")
        texts.append(
            f'<text x="{place:.1f}" y="{_BOTTOM + 18}" text-anchor="middle">{label}</text>'
        )
    for tick, label in zip(up.ticks, up.labels(), strict=True):
        place = _py(up, tick)
        lines.append(f"M{_LEFT} {place:.1f}H{_RIGHT}")
        texts.append(f'<text x="{_LEFT - 8}" y="{place + 4:.1f}" text-anchor="end">{label}</text>')
    return (
        f'<path d="{"".join(lines)}" fill="none" stroke="currentColor" stroke-opacity=".1"/>'
        f'<path d="M{_LEFT} {_BOTTOM}H{_RIGHT}" stroke="currentColor" stroke-opacity=".45"/>'
        f'<g fill-opacity=".72">{"".join(texts)}</g>'
    )


def _titles(across: Objective, up: Objective) -> str:
    better_x = "← better" if across["direction"] == "minimize" else "better →"
    better_y = "↓ better" if up["direction"] == "minimize" else "↑ better"
    return (
        f'<text x="{_LEFT - 40}" y="{_TOP - 18}">{_title(up, better_y)}</text>'
        f'<text x="{_RIGHT}" y="{HEIGHT - 14}" text-anchor="end">{_title(across, better_x)}</text>'
    )


def _title(objective: Objective, better: str) -> str:
    unit = f", {objective['unit']}" if objective["unit"] else ""
    return (
        f'<tspan class="ao-title" font-weight="600">{escape(objective["label"] + unit)}</tspan>'
        f'<tspan dx="9" fill-opacity=".65">{better}</tspan>'
    )


def _legend(points: Sequence[Point], star: str) -> str:
    present = {point.kind for point in points}
    entries, right = [], float(_RIGHT)
    for kind, words, width in reversed([entry for entry in _LEGEND if entry[0] in present]):
        right -= width
        entries.append(
            f'<g transform="translate({right:.0f} {_TOP - 44})">'
            f'<path d="{SHAPES[kind]}" {_paint(kind, front=True)}/>'
            f'<text x="13" y="4" fill-opacity=".8">'
            f"{escape(star if kind == 'recommended' else words)}</text></g>"
        )
    return "".join(entries)


def _empty() -> str:
    middle = (_LEFT + _RIGHT) / 2, (_TOP + _BOTTOM) / 2
    return (
        f'<text x="{middle[0]:.0f}" y="{middle[1]:.0f}" text-anchor="middle" fill-opacity=".7">'
        "No strategy has been measured yet</text>"
    )


def _reference(points: Sequence[Point], across: Axis, up: Axis) -> str:
    """Dash lines through the original, the yardstick for all others."""
    return "".join(
        f'<path d="M{_px(across, p.x[0]):.1f} {_TOP}V{_BOTTOM}M{_LEFT} {_py(up, p.y[0]):.1f}'
        f'H{_RIGHT}" fill="none" stroke="currentColor" stroke-opacity=".3" stroke-dasharray="2 4"/>'
        for p in points
        if p.kind == "original"
    )


def _line(corners: Iterable[tuple[float, float]], across: Axis, up: Axis) -> str:
    path = "L".join(f"{_px(across, x):.1f} {_py(up, y):.1f}" for x, y in corners)
    if not path:
        return ""
    return (
        f'<path class="ao-line" d="M{path}" fill="none" stroke="#3b7de8" stroke-width="1.5" '
        'stroke-opacity=".55" stroke-linejoin="round"/>'
    )


def _marks(
    points: Sequence[Point], objectives: tuple[Objective, Objective], axes: tuple[Axis, Axis]
) -> str:
    def rank(point: Point) -> tuple[bool, bool, int]:
        return point.kind == "recommended", _is_strong(point), point.row["number"]

    shown = sorted(points, key=rank)
    if len(shown) <= MOST_MARKS:
        return "".join(_mark(point, objectives, axes) for point in shown)
    behind = "".join(
        f"M{_px(axes[0], p.x[0]):.0f} {_py(axes[1], p.y[0]):.0f}h0"
        for p in shown
        if not _is_strong(p)
    )
    dots = (
        f'<path d="{behind}" fill="none" stroke="currentColor" stroke-opacity=".3" '
        'stroke-width="6" stroke-linecap="round"/>'
    )
    return dots + "".join(_mark(point, objectives, axes) for point in shown if _is_strong(point))


def _drawn(points: Sequence[Point]) -> list[Point]:
    """Leave of very many points those that show where all are, and what has a name."""
    front = sorted((p for p in points if _is_strong(p)), key=lambda point: point.x[0])
    behind = [p for p in points if not _is_strong(p)]
    return [
        *spread(behind, MOST_DRAWN, keep=lambda _: False),
        *spread(front, MOST_DRAWN, keep=lambda p: p.kind in ("original", "recommended")),
    ]


def _is_strong(point: Point) -> bool:
    return point.row["front"] or point.kind in ("original", "recommended")


def _mark(point: Point, objectives: tuple[Objective, Objective], axes: tuple[Axis, Axis]) -> str:
    x, y = _px(axes[0], point.x[0]), _py(axes[1], point.y[0])
    strong = _is_strong(point)
    paint = _paint(point.kind, front=strong, hollow=not point.row["feasible"])
    return (
        f'<g transform="translate({x:.1f} {y:.1f})" opacity="{1 if strong else 0.3}">'
        f"<title>{escape(_describe(point, objectives))}</title>"
        f"{_bars(point, x, y, axes) if strong else ''}"
        f'<path d="{SHAPES[point.kind]}" {paint}/>{_tag(point, x)}</g>'
    )


def _bars(point: Point, x: float, y: float, axes: tuple[Axis, Axis]) -> str:
    left, right = (_px(axes[0], end) - x for end in point.x[1:])
    low, high = (_py(axes[1], end) - y for end in point.y[1:])
    return (
        f'<path d="M{left:.1f} 0H{right:.1f}M0 {low:.1f}V{high:.1f}" fill="none" '
        'stroke="currentColor" stroke-opacity=".4"/>'
    )


def _paint(kind: str, *, front: bool, hollow: bool = False) -> str:
    if kind == "original":
        return 'fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round"'
    name, tone = ("ao-star", "#d48a06") if kind == "recommended" else ("ao-accent", "#3b7de8")
    if not front:
        name, tone = "ao-plain", "currentColor"
    if hollow:
        return f'class="{name} ao-hollow" fill="none" stroke="{tone}" stroke-width="1.6"'
    return f'class="{name}" fill="{tone}"'


def _tag(point: Point, x: float) -> str:
    if point.kind not in ("original", "recommended"):
        return ""
    speedup = point.row["speedup"]
    words = "original" if point.kind == "original" else f"#{point.row['number']}"
    if point.kind == "recommended" and speedup is not None and speedup > 0:
        words += f" · {speedup:.1f}×"
    end = x > _RIGHT - 90
    place = 'x="-12" text-anchor="end"' if end else 'x="12"'
    # Below and above: the front runs through the one and over the other.
    height = 19 if point.kind == "original" else -10
    return f'<text {place} y="{height}" font-weight="600">{escape(words)}</text>'


def _describe(point: Point, objectives: tuple[Objective, Objective]) -> str:
    lines = [f"#{point.row['number']} {point.row['summary']}"]
    for objective, stat in zip(objectives, (point.x, point.y), strict=True):
        interval = format_interval(stat, objective["unit"])
        written = format_value(stat[0], objective["unit"])
        lines.append(f"{objective['label']} {written}" + (f" ({interval})" if interval else ""))
    return "\n".join(lines)


def _footnote(points: Sequence[Point], drawn: int, across: Axis, up: Axis) -> str:
    words = [f"{drawn} of {len(points)} are drawn"] if drawn < len(points) else []
    beyond = sum(not (across.holds(p.x[0]) and up.holds(p.y[0])) for p in points)
    words += [f"{beyond} beyond the axes, drawn at the edge"] if beyond else []
    if not words:
        return ""
    return f'<text x="{_LEFT}" y="{HEIGHT - 14}" fill-opacity=".65">{" · ".join(words)}</text>'
