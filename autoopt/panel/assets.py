"""The code and the style of the panel, as the strings that a widget carries into the page."""

from __future__ import annotations

import base64
import re
import zlib
from importlib import resources
from typing import Final

# One module for the browser: what a file defines, all files below it may use.
_CODE: Final = (
    "elements.js", "scale.js", "columns.js", "dominance.js", "front.js", "advice.js", "store.js",
    "colour.js", "header.js", "needs.js", "plane.js", "points.js", "painter.js", "scatter.js",
    "chart.js", "toolbar.js", "brush.js", "coordinates.js", "table.js", "recipe.js", "card.js",
    "compare.js", "takeaway.js", "why.js", "panel.js",
)  # fmt: skip
_STYLE: Final = ("header.css", "chart.css", "card.css", "table.css", "why.css", "panel.css")


_LOADER: Final = """\
const bytes = Uint8Array.from(atob("{packed}"), (letter) => letter.charCodeAt(0));
const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
const code = new Blob([await new Response(plain).text()], {{ type: "text/javascript" }});
const url = URL.createObjectURL(code);
const panel = await import(url);
URL.revokeObjectURL(url);
export default panel.default;
"""


def module() -> str:
    """Return what a widget sends as its module: the code, packed, and seven lines that unpack it.

    Each notebook that shows a panel carries it, and this makes it a third.
    """
    packed = base64.b64encode(zlib.compress(code().encode(), 9)).decode()
    return _LOADER.format(packed=packed)


def code() -> str:
    """Return the panel's JavaScript, one ES module, without comments and indentation.

    No file of the panel has a line of a text or a template that begins with a comment or needs its
    indentation.
    """
    lines = (line.strip() for line in _read(_CODE).splitlines())
    kept = [line for line in lines if line and not line.startswith("//")]
    return "\n".join([*kept, "//# sourceURL=autoopt-panel.js"])


def style() -> str:
    """Return the panel's style sheet, without comments and indentation."""
    text = re.sub(r"/\*.*?\*/", "", _read(_STYLE), flags=re.DOTALL)
    return "".join(line.strip() for line in text.splitlines())


def _read(names: tuple[str, ...]) -> str:
    folder = resources.files("autoopt.panel")
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)
