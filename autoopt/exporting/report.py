"""`report.html`: one file, readable without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #8884; }
td { font-variant-numeric: tabular-nums; vertical-align: top; }
table.short td { white-space: nowrap; }
figure { margin: 1rem 0; }
pre { background: #8881; padding: .75rem; overflow-x: auto; }
"""

SHORT = 60
"""Characters of a table's longest cell up to which its lines are not broken."""


def report_html(sections: Mapping[str, Any], *, chart: str = "") -> str:
    """Return the report as a page.

    Parameters
    ----------
    sections
        Heading to content: text, a mapping (a table of two columns) or a sequence of mappings (a
        table, one row each). ``title`` is the page's. Everything is escaped.
    chart
        A figure, as HTML or SVG, that is put in as it is.
    """
    title = escape(str(sections.get("title", "An exported strategy")))
    parts = [section_html(name, value) for name, value in sections.items() if name != "title"]
    figure = f"<figure>{chart}</figure>" if chart else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
        f"<body><h1>{title}</h1>{figure}\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def section_html(name: str, value: Any) -> str:
    """Return one section: heading and content, everything escaped."""
    return f"<section><h2>{escape(_heading(name))}</h2>{_content(value)}</section>"


def _heading(name: str) -> str:
    words = str(name).replace("_", " ")
    return words[:1].upper() + words[1:]


def _content(value: Any) -> str:
    if isinstance(value, Mapping):
        rows = "".join(
            f'<tr><th scope="row">{escape(str(key))}</th><td>{_cell(item)}</td></tr>'
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
    head = "".join(f'<th scope="col">{escape(str(key))}</th>' for key in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(row.get(key, ''))}</td>" for key in columns) + "</tr>"
        for row in rows
    )
    longest = max(len(_cell(cell)) for row in rows for cell in row.values())
    kind = ' class="short"' if longest <= SHORT else ""
    return f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return escape(f"{value:.4g}")
    if isinstance(value, Mapping):
        return ", ".join(f"{escape(str(key))}: {_cell(item)}" for key, item in value.items())
    return "" if value is None else escape(str(value))
