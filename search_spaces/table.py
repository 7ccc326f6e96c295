"""A space as a table, for a terminal and for a notebook."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from html import escape

from search_spaces.dimensions import Choice, Dimension
from search_spaces.menu import Options

__all__ = ["as_html", "as_text", "count"]

_HEADER = ("slot", "option", "setting", "range", "usual", "points")


def as_text(slots: Mapping[str, Options], size: int | float) -> str:
    """Give an aligned table; `size` is the number of points of the whole."""
    rows = [_HEADER, *_rows(slots)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    rule = tuple("-" * width for width in widths)
    lines = [_line(row, widths) for row in (rows[0], rule, *rows[1:])]
    return "\n".join([*lines, "", count(size)])


def as_html(slots: Mapping[str, Options], size: int | float) -> str:
    """Give the same table as HTML; names and values are escaped."""
    head = "".join(f'<th style="text-align:left">{name}</th>' for name in _HEADER)
    body = "".join(
        "<tr>"
        + "".join(f'<td style="text-align:left">{escape(cell)}</td>' for cell in row)
        + "</tr>"
        for row in _rows(slots)
    )
    return (
        f"<table><caption>Search space of {escape(count(size))}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def count(size: int | float) -> str:
    """Give a number of points in words."""
    if size == math.inf:
        return "infinitely many points"
    if size >= 10**15:  # nobody reads more digits, and printing 4,300 of them is an error
        return f"about 10^{math.log10(size):.0f} points"
    return f"{size:,} point{'' if size == 1 else 's'}"


def _rows(slots: Mapping[str, Options]) -> Iterator[tuple[str, ...]]:
    """Give the cells; what repeats the row above is left blank."""
    for slot, options in slots.items():
        slot_cell = slot
        for option, settings in options.items():
            if not settings:
                yield slot_cell, option, "", "", "", "1"
            option_cell = option
            for name, dimension in settings.items():
                yield slot_cell, option_cell, name, *_range(dimension)
                slot_cell = option_cell = ""
            slot_cell = ""


def _range(dimension: Dimension) -> tuple[str, str, str]:
    size = "∞" if dimension.size == math.inf else f"{dimension.size:,}"
    if isinstance(dimension, Choice):
        return ", ".join(map(_value, dimension)), _value(dimension.usual), size
    step = "" if dimension.step is None else f", step {dimension.step}"
    log = ", log" if dimension.log else ""
    return f"{dimension.low} to {dimension.high}{step}{log}", _value(dimension.usual), size


def _value(value: object) -> str:
    # A line break in a string value would break the table.
    text = str(value)
    return text if text.isprintable() and text.strip() == text != "" else repr(text)


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
    return "  ".join([*cells, row[-1].rjust(widths[-1])])
