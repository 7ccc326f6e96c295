"""Following a search in a panel."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from autoopt.handle.rows import (
    Marks,
    axis_rows,
    bounded_rows,
    marked_records,
    needs_of,
    record_row,
    status_message,
)
from autoopt.panel import Panel

if TYPE_CHECKING:
    from autoopt.handle.handle import Search
    from autoopt.history import History
    from autoopt.panel.messages import Row
    from autoopt.record import Record

logger = logging.getLogger("autoopt.panel")

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
    for kind in ("choose", "pause", "go_on", "stop"):
        panel.on_command(kind, getattr(search, kind))
    panel.on_command("export", lambda number, folder: search.pick(number).export(folder))
    threading.Thread(target=_follow, args=(search, panel), daemon=True).start()
    return panel


def _follow(search: Search, panel: Panel) -> None:
    """Carry news into the panel until the search has ended or the panel was closed."""
    feed = _Feed(search, panel)
    try:
        while not feed.step():
            time.sleep(POLL_SECONDS)
    except Exception as error:  # a thread that just died would look like "running"
        logger.exception("the search in %s cannot be followed any more", search.folder)
        message = f"the search in {search.folder} cannot be followed any more: {error}"
        panel.fail(message)
    finally:
        panel.settle()


class _Feed:
    """What has gone from a search into its panel so far."""

    def __init__(self, search: Search, panel: Panel) -> None:
        self._search = search
        self._panel = panel
        self._seen: History | None = None
        self._sent: dict[int, tuple[object, ...]] = {}
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
        changed = self._news(history) if history is not self._seen else []
        self._seen = history
        self._panel.update(changed, status_message(status))
        if time.monotonic() >= self._twin_due:
            self._twin_due = time.monotonic() + TWIN_SECONDS
            self._panel.refresh_twin()
        return status.state in ("finished", "failed")

    def _news(self, history: History) -> list[Row]:
        """Return the rows that read differently from how they were sent."""
        bounded = bounded_rows(history)
        if bounded != self._panel.bounded:
            self._panel.bounded = bounded
        self._panel.need(needs_of(history))
        notes = list(self._search.notes)
        if notes != self._panel.notes:
            self._panel.notes = notes
        if history.choices and self._panel.chosen != history.choices[-1]:
            self._panel.chosen = history.choices[-1]
        changed = []
        for record, marks in marked_records(history):
            said = _said(record, marks)
            if self._sent.get(record.number) != said:
                self._sent[record.number] = said
                # To build thousands that nobody is sent would slow the person's own cells.
                changed.append(record_row(record, marks))
        return changed


def _said(record: Record, marks: Marks) -> tuple[object, ...]:
    """Return what a person would see change of a record.

    With every trial the correction for the machine's drift moves all timings a little; four digits
    of a value, and three of the ends of its interval, keep that from sending every row again.
    """
    stats = record.measurement.stats if record.measurement else {}
    figures = [
        f"{name} {stat.value:.4g} {stat.low:.3g} {stat.high:.3g}" for name, stat in stats.items()
    ]
    return record.failure is None, marks, *figures
