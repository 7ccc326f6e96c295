"""The code and the style of the panel, as the strings that a widget carries into the page."""

from __future__ import annotations

from importlib import resources
from typing import Final

# One module for the browser: what a file defines, all files below it may use.
_CODE: Final = (
    "elements.js", "scale.js", "columns.js", "front.js", "advice.js", "store.js", "colour.js",
    "header.js", "needs.js", "plane.js", "scatter.js", "chart.js", "toolbar.js", "brush.js",
    "coordinates.js", "table.js", "recipe.js", "card.js", "compare.js", "why.js", "panel.js",
)  # fmt: skip
_STYLE: Final = ("header.css", "chart.css", "card.css", "table.css", "why.css", "panel.css")


def code() -> str:
    """Return the panel's JavaScript, one ES module."""
    return _read(_CODE)


def style() -> str:
    """Return the panel's style sheet."""
    return _read(_STYLE)


def _read(names: tuple[str, ...]) -> str:
    folder = resources.files("autoopt.panel")
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)
