"""A search as a notebook shows it where it ends a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoopt.handle.rows import axis_rows, record_rows, status_message
from autoopt.panel.static import front_html

if TYPE_CHECKING:
    from autoopt.handle.handle import Search
    from autoopt.panel import Panel


def html_of(search: Search, panel: Panel | None) -> str:
    """Return status and front as they are now; nothing in the cell that shows the panel.

    There a bare ``autoopt.search(...)`` would put the front of a search that has measured nothing
    beneath the panel and beneath its static twin, which goes on, for good.
    """
    if panel is not None and panel.shown_here:
        return f'<div class="{panel.name}"></div>'
    history = search._known()
    return front_html(record_rows(history), axis_rows(history), status_message(search.status))
