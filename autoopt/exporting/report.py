"""`report.html`: one file, readable without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; --line: #8883; --soft: #8881; --quiet: #8889;
  --accent: light-dark(#2563d9, #7fb0ff); }
body { font: 15px/1.55 system-ui, sans-serif; max-width: 62rem; margin: 2.5rem auto;
  padding: 0 1.25rem; }
h1 { font-size: 1.55rem; line-height: 1.25; margin: 0 0 1.25rem; }
h2 { font-size: 1.12rem; margin: 2.5rem 0 .6rem; }
dl.cards { display: flex; flex-wrap: wrap; gap: .75rem; margin: 0 0 1.5rem; }
dl.cards div { display: flex; flex-direction: column-reverse; flex: 1 1 9rem; padding: .7rem 1rem;
  border: 1px solid var(--line); border-radius: .6rem; }
dl.cards dd { font-size: 1.5rem; font-weight: 650; margin: 0; color: var(--accent);
  font-variant-numeric: tabular-nums; }
dl.cards dt { font-size: .85rem; opacity: .75; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { text-align: left; padding: .3rem 1.1rem .3rem 0; border-bottom: 1px solid var(--line); }
thead th { font-size: .85rem; font-weight: 600; opacity: .75; vertical-align: bottom; }
tbody th { font-weight: 500; white-space: nowrap; vertical-align: top; }
td { font-variant-numeric: tabular-nums; vertical-align: top; }
td.n, th.n { text-align: right; }
table.short td { white-space: nowrap; }
figure { margin: .75rem 0 1.25rem; }
pre { background: var(--soft); padding: .9rem; border-radius: .6rem; overflow-x: auto;
  font-size: .85rem; }
"""

SHORT = 44
"""Characters of a table's longest cell up to which its lines are not broken."""


def report_html(sections: Mapping[str, Any], *, charts: Mapping[str, str] | None = None) -> str:
    """Return the report as a page.

    Parameters
    ----------
    sections
        Heading to content: text, a mapping (a table of two columns) or a sequence of mappings (a
        table, one row each). ``title`` is the page's, ``cards`` are its figures at a glance.
        Everything is escaped.
    charts
        Heading to a figure, as HTML or SVG, that is put in as it is, before the content of that
        heading if it has any.
    """
    drawn = dict(charts or {})
    title = escape(str(sections.get("title", "An exported strategy")))
    shown = {name: value for name, value in sections.items() if name not in ("title", "cards")}
    order = dict.fromkeys([*drawn, *shown]) if not set(drawn) <= set(shown) else shown
    parts = [section_html(name, shown.get(name), figure=drawn.get(name, "")) for name in order]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
        f"<body><h1>{title}</h1>{_cards(sections.get('cards') or {})}\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def section_html(name: str, value: Any, *, figure: str = "") -> str:
    """Return one section: heading, figure and content, the figure as it is, all else escaped."""
    drawn = f"<figure>{figure}</figure>" if figure else ""
    content = "" if value is None else _content(value)
    return f"<section><h2>{escape(_heading(name))}</h2>{drawn}{content}</section>"


def _cards(cards: Mapping[str, str]) -> str:
    """Return figures at a glance: what each is, and the figure in large."""
    shown = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in cards.items()
    )
    return f'<dl class="cards">{shown}</dl>' if shown else ""


def _heading(name: str) -> str:
    words = str(name).replace("_", " ")
    return words[:1].upper() + words[1:]


def _content(value: Any) -> str:
    if isinstance(value, Mapping):
        rows = "".join(
            f'<tr><th scope="row">{escape(_heading(key))}</th><td>{_cell(item)}</td></tr>'
            for key, item in value.items()
        )
        return f"<table>{rows}</table>"
    if isinstance(value, Sequence) and not isinstance(value, str):
        if value and all(isinstance(row, Mapping) for row in value):
            return _table(value)
        return "<ul>" + "".join(f"<li>{_cell(item)}</li>" for item in value) + "</ul>"
    text = str(value)
    return f"<pre>{escape(text)}</pre>" if "\n" in text else f"<p>{_cell(value)}</p>"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    marks = {key: ' class="n"' if _is_figure(rows, key) else "" for key in columns}
    head = "".join(
        f'<th scope="col"{marks[key]}>{escape(_heading(str(key)))}</th>' for key in columns
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{marks[key]}>{_cell(row.get(key, ''))}</td>" for key in columns)
        + "</tr>"
        for row in rows
    )
    longest = max(len(_cell(cell)) for row in rows for cell in row.values())
    kind = ' class="short"' if longest <= SHORT else ""
    return f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _is_figure(rows: Sequence[Mapping[str, Any]], key: str) -> bool:
    """Say whether a column holds nothing but numbers."""
    cells = [row[key] for row in rows if row.get(key) not in (None, "")]
    return bool(cells) and all(
        isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells
    )


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return escape(f"{value:.4g}")
    if isinstance(value, Mapping):
        return ", ".join(
            f"{escape(str(key).replace('_', ' '))}: {_cell(item)}" for key, item in value.items()
        )
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value)) or "none"
    return "" if value is None else escape(str(value))
