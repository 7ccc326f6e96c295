"""The way from the original to a strategy as a picture: a line a step, a column an objective."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final, TypedDict

from autoopt.panel.axes import format_value
from autoopt.panel.messages import Objective
from autoopt.panel.svg import STYLE

WIDTH: Final = 900
_ROW: Final = 30
_TOP: Final = 40
_NAMES: Final = 260
_GAP: Final = 22
_FIGURE: Final = 104
"""Room for a figure behind its bar, and for how it compares with the first."""

LONGEST: Final = 40
"""Characters of a step's name that have room."""

LONGEST_NOTE: Final = 80
"""Characters of why a step was not measured that have room beside its name."""


class StepRow(TypedDict):
    """One step: its name, and figures with intervals by objective, or why there are none."""

    name: str
    values: dict[str, list[float]]
    missing: str


def steps_svg(rows: Sequence[StepRow], objectives: Sequence[Objective]) -> str:
    """Draw steps as a self-contained SVG in which all text is escaped.

    Objectives with a unit are bars from zero, with how many times as small or as large they are
    as the first; scores without one are dots with their intervals, over the range that they span.
    """
    height = _TOP + _ROW * len(rows) + 8
    width = (WIDTH - _NAMES) / max(len(objectives), 1) - _GAP
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="autoopt" role="img" '
            f'viewBox="0 0 {WIDTH} {height}" width="100%" style="max-width:{WIDTH}px;height:auto" '
            f'fill="currentColor" font-family="sans-serif" font-size="11.5">'
        ),
        f"<title>What each of {len(rows)} steps cost and gained</title><style>{STYLE}</style>",
    ]
    if any(objective["unit"] for objective in objectives) and len(rows) > 1:
        parts.append('<text x="0" y="20" opacity=".6">÷ and × against the original</text>')
    for place, objective in enumerate(objectives):
        left = _NAMES + place * (width + _GAP)
        unit = f", {objective['unit']}" if objective["unit"] else ""
        parts.append(
            f'<text class="ao-title" x="{left:.1f}" y="20">{escape(objective["label"] + unit)}'
            "</text>"
        )
        parts += _column(rows, objective, left, width - _FIGURE)
    for place, row in enumerate(rows):
        parts.append(_name(row, place, last=place == len(rows) - 1))
    return "".join([*parts, "</svg>"])


def _name(row: StepRow, place: int, *, last: bool) -> str:
    middle = _TOP + _ROW * place + _ROW / 2
    text = row["name"] if len(row["name"]) <= LONGEST else f"{row['name'][: LONGEST - 1]}…"
    weight = ' font-weight="600"' if last or place == 0 else ""
    line = (
        f'<path d="M0 {middle - _ROW / 2:.1f}H{WIDTH}" stroke="currentColor" stroke-opacity=".12"/>'
    )
    note = row["missing"]
    if note:
        note = note if len(note) <= LONGEST_NOTE else f"{note[: LONGEST_NOTE - 1]}…"
        note = f'<text x="{_NAMES}" y="{middle + 4:.1f}" opacity=".65">{escape(note)}</text>'
    return (
        f'{line}<text x="0" y="{middle + 4:.1f}"{weight}><title>{escape(row["name"])}</title>'
        f"{escape(text)}</text>{note}"
    )


def _column(rows: Sequence[StepRow], objective: Objective, left: float, width: float) -> list[str]:
    """Return the marks of one objective."""
    known = [row["values"][objective["name"]] for row in rows if objective["name"] in row["values"]]
    if not known:
        return []
    bars = bool(objective["unit"])
    low = 0.0 if bars else min(stat[1] for stat in known)
    high = max(stat[0] if bars else stat[2] for stat in known)
    span = high - low or 1.0
    parts = []
    for place, row in enumerate(rows):
        stat = row["values"].get(objective["name"])
        if stat is None:
            continue
        middle = _TOP + _ROW * place + _ROW / 2
        value, least, most = (left + width * (number - low) / span for number in stat)
        parts.append(
            _bar(left, value, middle) if bars else _dot(value, (least, most), middle)
        )  # fmt: skip
        end = value if bars else max(value, most)
        text = escape(format_value(stat[0], objective["unit"]))
        share = _share(stat[0], known[0][0]) if bars and place else ""
        parts.append(f'<text x="{end + 6:.1f}" y="{middle + 4:.1f}">{text}{share}</text>')
    return parts


def _share(value: float, first: float) -> str:
    """Return how many times as small or as large a figure is as the first; nothing if as much."""
    if value <= 0 or first <= 0 or 0.95 < value / first < 1.05:
        return ""
    sign, times = ("÷", first / value) if value < first else ("×", value / first)
    shown = f"{times:.1f}" if times < 10 else f"{times:.0f}"
    return f'<tspan dx="6" fill-opacity=".6">{sign} {shown}</tspan>'


def _bar(left: float, end: float, middle: float) -> str:
    return (
        f'<rect class="ao-accent" x="{left:.1f}" y="{middle - 7:.1f}" height="14" rx="2" '
        f'width="{max(end - left, 1.5):.1f}" fill="#3b7de8" fill-opacity=".75" stroke="none"/>'
    )


def _dot(value: float, ends: tuple[float, float], middle: float) -> str:
    return (
        f'<path class="ao-line" d="M{ends[0]:.1f} {middle:.1f}H{ends[1]:.1f}" stroke="#3b7de8" '
        f'stroke-width="2" stroke-opacity=".5"/><circle class="ao-accent" cx="{value:.1f}" '
        f'cy="{middle:.1f}" r="4.5" fill="#3b7de8"/>'
    )
