"""The static twin of the panel: the front as SVG, HTML and text, by the standard library alone.

It is what GitHub, a saved notebook, an e-mail, ``report.html`` and a terminal show.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from autoopt.panel.axes import format_duration, format_interval, format_value
from autoopt.panel.messages import Objective, Row, Status
from autoopt.panel.points import default_axes, interval_of, spread
from autoopt.panel.svg import STYLE, front_svg

__all__ = ["front_html", "front_svg", "front_text"]

_MOST_FAILURES: Final = 20
_MOST_TEXT_ROWS: Final = 12
_MOST_TABLE_ROWS: Final = 100
"""A notebook that is saved holds the twin, and so does the mail that carries it."""

_TABLE_STYLE: Final = """
.autoopt-front{font:13px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;\
max-width:760px;font-variant-numeric:tabular-nums}
.autoopt-front .ao-status{margin:0 0 14px;font-size:13px}
.autoopt-front .ao-status b{font-weight:600}
.autoopt-front .ao-status span{opacity:.72}
.autoopt-front .ao-scroll{overflow-x:auto;margin-top:14px}
.autoopt-front table{border-collapse:collapse;width:100%;margin:0;font-size:12.5px}
.autoopt.autoopt-front table tr{background:none}
.autoopt.autoopt-front table :is(th,td){padding:6px 12px 6px 0;text-align:left;\
vertical-align:top;border:0;background:none;\
border-bottom:1px solid color-mix(in srgb,currentColor 14%,transparent)}
.autoopt.autoopt-front table th{font-weight:600;white-space:nowrap;\
border-bottom-color:color-mix(in srgb,currentColor 45%,transparent)}
.autoopt.autoopt-front table .ao-n{text-align:right;white-space:nowrap}
.autoopt.autoopt-front table :is(th,td):last-child{padding-right:0}
.autoopt-front td small{display:block;opacity:.68;font-size:11px}
.autoopt-front td:nth-child(2){min-width:14em;overflow-wrap:anywhere}
.autoopt-front tr.ao-pick td{font-weight:600}
.autoopt-front tr.ao-pick td small{font-weight:400}
.autoopt-front .ao-mark{color:var(--ao-star,#d48a06)}
.autoopt-front details{margin-top:14px}
.autoopt-front summary{cursor:pointer}
.autoopt-front li{overflow-wrap:anywhere}
"""


def front_html(rows: Sequence[Row], objectives: Sequence[Objective], status: Status) -> str:
    """Give status, scatter and table of the front as one piece of HTML.

    Parameters
    ----------
    rows
        All trials.
    objectives
        What the search optimises; the scatter needs two.
    status
        Where the search stands.

    Returns
    -------
    str
        A ``<div>`` that carries its style, holds no script, and in which all text is escaped.
    """
    axes = default_axes(objectives)
    figure = (
        "" if axes is None else front_svg(rows, objectives, x=axes[0]["name"], y=axes[1]["name"])
    )
    return (
        f'<div class="autoopt autoopt-front"><style>{STYLE}{_TABLE_STYLE}</style>'
        f"{_status_line(status)}{figure}{_table(rows, objectives)}{_failures(rows)}</div>"
    )


def front_text(rows: Sequence[Row], objectives: Sequence[Objective], status: Status) -> str:
    """Give status and front as plain text, for terminals."""
    lines = [" · ".join(status_words(status))]
    shown = _front_rows(rows, objectives)
    for row in shown[:_MOST_TEXT_ROWS]:
        values = "  ".join(_value(row, objective) for objective in objectives)
        mark = "★" if row["recommended"] else "✕" if row["role"] == "original" else " "
        lines.append(f"{mark} #{row['number']:<4} {values}  {_times(row)}  {row['summary']}")
    if len(shown) > _MOST_TEXT_ROWS:
        lines.append(f"  … and {len(shown) - _MOST_TEXT_ROWS} more")
    return "\n".join(lines)


def status_words(status: Status) -> list[str]:
    """Say where the search stands, in a few words each."""
    words = [
        status["state"].capitalize(),
        "1 trial" if status["trials"] == 1 else f"{status['trials']} trials",
        format_duration(status["seconds_elapsed"]),
    ]
    if status["failed"]:
        words.insert(2, f"{status['failed']} failed")
    if status["seconds_left"] is not None and status["state"] in ("starting", "running", "paused"):
        words.append(f"{format_duration(status['seconds_left'])} left")
    return [*words, f"best {status['best']}"] if status["best"] else words


def _status_line(status: Status) -> str:
    first, *others = (escape(word) for word in status_words(status))
    message = f"<br><span>{escape(status['message'])}</span>" if status["message"] else ""
    rest = "".join(f"<span> · {word}</span>" for word in others)
    return f'<p class="ao-status"><b>{first}</b>{rest}{message}</p>'


def _front_rows(rows: Sequence[Row], objectives: Sequence[Objective]) -> list[Row]:
    """Give the original first, then the front, the best in the first cost (or gain) at the top."""
    latest = {row["number"]: row for row in rows if row["state"] == "ok"}.values()
    axes = default_axes(objectives)
    order = axes[0] if axes else objectives[0] if objectives else None

    def rank(row: Row) -> tuple[bool, float]:
        stat = interval_of(row, order["name"]) if order else None
        value = float("inf") if stat is None else stat[0]
        minimized = order is None or order["direction"] == "minimize"
        return row["role"] != "original", value if minimized or stat is None else -value

    kept = (r for r in latest if r["front"] or r["recommended"] or r["role"] == "original")
    return sorted(kept, key=rank)


def _table(rows: Sequence[Row], objectives: Sequence[Objective]) -> str:
    wanted = _front_rows(rows, objectives)
    if not wanted:
        return ""
    shown = spread(wanted, _MOST_TABLE_ROWS, keep=_is_named)
    left = len(wanted) - len(shown)
    more = f"<p>… and {left} more</p>" if left else ""
    heads = "".join(f'<th class="ao-n" scope="col">{_heading(o)}</th>' for o in objectives)
    body = "".join(_table_row(row, objectives) for row in shown)
    return (
        '<div class="ao-scroll"><table><thead><tr><th class="ao-n" scope="col">#</th>'
        f'<th scope="col">strategy</th>{heads}<th class="ao-n" scope="col">speed-up</th>'
        f"</tr></thead><tbody>{body}</tbody></table>{more}</div>"
    )


def _is_named(row: Row) -> bool:
    return row["recommended"] or row["role"] == "original"


def _heading(objective: Objective) -> str:
    unit = f", {objective['unit']}" if objective["unit"] else ""
    return escape(objective["label"] + unit)


def _table_row(row: Row, objectives: Sequence[Objective]) -> str:
    cells = "".join(f'<td class="ao-n">{_cell(row, o)}</td>' for o in objectives)
    notes = ["recommended"] if row["recommended"] else []
    notes += ["original"] if row["role"] == "original" else []
    notes += [] if row["feasible"] else ["outside the constraints"]
    mark = '<span class="ao-mark">★</span> ' if row["recommended"] else ""
    note = f"<small>{', '.join(notes)}</small>" if notes else ""
    pick = ' class="ao-pick"' if row["recommended"] else ""
    return (
        f'<tr{pick}><td class="ao-n">{mark}{row["number"]}</td>'
        f"<td>{escape(row['summary'])}{note}</td>{cells}"
        f'<td class="ao-n">{_times(row)}</td></tr>'
    )


def _cell(row: Row, objective: Objective) -> str:
    stat = interval_of(row, objective["name"])
    if stat is None:
        return "–"
    interval = format_interval(stat, objective["unit"])
    # The unit stands in the heading.
    value = escape(format_value(stat[0], objective["unit"]).split(" ")[0])
    return f"{value}<small>{interval}</small>" if interval else value


def _value(row: Row, objective: Objective) -> str:
    stat = interval_of(row, objective["name"])
    written = format_value(None if stat is None else stat[0], objective["unit"])
    return f"{objective['label']} {written}"


def _times(row: Row) -> str:
    if row["role"] == "original":
        # What it measures against itself is noise.
        return "1×"
    speedup = row["speedup"]
    return f"{speedup:.1f}×" if speedup is not None and 0 < speedup < float("inf") else "–"


def _failures(rows: Sequence[Row]) -> str:
    latest = {row["number"]: row for row in rows}.values()
    failed = [row for row in latest if row["state"] == "failed"]
    if not failed:
        return ""
    items = "".join(f"<li>{_failure(row)}</li>" for row in failed[:_MOST_FAILURES])
    more = len(failed) - _MOST_FAILURES
    rest = f"<p>… and {more} more</p>" if more > 0 else ""
    return f"<details><summary>{len(failed)} failed</summary><ul>{items}</ul>{rest}</details>"


def _failure(row: Row) -> str:
    failure = row["failure"]
    words = f"#{row['number']} {row['summary']}"
    if failure is not None:
        words += f": {failure['kind']} in {failure['stage']}: {failure['message']}"
    return escape(words)
