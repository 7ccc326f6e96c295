"""Following a search in a panel."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Final

from autoopt.handle.rows import axis_rows, record_rows, status_message
from autoopt.panel import Panel
from autoopt.panel.messages import starting_status

if TYPE_CHECKING:
    from autoopt.handle.handle import Search
    from autoopt.history import History

POLL_SECONDS: Final = 0.25
TWIN_SECONDS: Final = 30.0
"""How often the static twin is written while the search runs, for notebooks saved meanwhile."""


def show(search: Search) -> None:
    """Show the panel, and beneath it what stays when the kernel is gone."""
    search.panel().show()


def follow_in_panel(search: Search) -> Panel:
    """Return a panel, at once, that a thread keeps up to date until the search ends.

    The panel holds the search, so that its buttons work as long as it is on screen;
    ``panel.close()`` lets go of it.
    """
    panel = Panel()
    panel.on_choose(search.choose)
    panel.on_stop(search.stop)
    threading.Thread(target=_follow, args=(search, panel), daemon=True).start()
    return panel


def _follow(search: Search, panel: Panel) -> None:
    """Carry news into the panel until the search has ended or the panel was closed."""
    feed = _Feed(search, panel)
    try:
        while not feed.step():
            time.sleep(POLL_SECONDS)
    except (OSError, sqlite3.Error) as error:
        message = f"the search in {search.folder} cannot be followed any more: {error}"
        panel.update(status={**starting_status(), "state": "failed", "message": message})
    panel.settle()


class _Feed:
    """What has gone from a search into its panel so far."""

    def __init__(self, search: Search, panel: Panel) -> None:
        self._search = search
        self._panel = panel
        self._seen: History | None = None
        self._sent: dict[int, str] = {}
        self._twin_due = time.monotonic() + TWIN_SECONDS

    def step(self) -> bool:
        """Send what changed; return whether this was the end."""
        if self._panel.comm is None:
            return True
        # The status first: if it is the last one, the history holds all that led to it.
        status = self._search.status
        history = self._search._known()
        if not self._panel.objectives and history.settings is not None:
            self._panel.objectives = axis_rows(history)
        rows = record_rows(history) if history is not self._seen else []
        self._seen = history
        changed = [row for row in rows if self._sent.get(row["number"]) != str(row)]
        self._sent.update({row["number"]: str(row) for row in changed})
        self._panel.update(changed, status_message(status))
        if time.monotonic() >= self._twin_due:
            self._twin_due = time.monotonic() + TWIN_SECONDS
            self._panel.refresh_twin()
        return status.state in ("finished", "failed")
