"""Waiting for the end of a search: with a bar, with lines, or quietly beside its panel."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from autoopt.handle.interrupts import noted_interrupts
from autoopt.handle.status import Status, clock
from autoopt.handle.surroundings import in_notebook

if TYPE_CHECKING:
    from autoopt.handle.handle import Search

POLL_SECONDS = 0.25
LINE_SECONDS = 15.0
"""Where the output is no terminal, a line is printed this often."""

SETTLE_SECONDS = 5.0
"""How long the panel may take to show the end."""


def follow(search: Search, *, timeout: float | None) -> None:
    """Show progress until the search ends.

    In a notebook the panel shows it; there, nothing is printed, and a panel is shown if there is
    none yet.

    Raises
    ------
    TimeoutError
        If it has not ended within `timeout` seconds.
    """
    end = None if timeout is None else time.monotonic() + timeout
    if in_notebook():
        _beside_panel(search, end)
        return
    console = Console()
    if console.is_terminal:
        _with_bar(search, end, console)
    else:
        _with_lines(search, end, console)


def _until_ended(search: Search, end: float | None) -> Iterator[Status]:
    """Yield the status again and again, the last one being that of the end."""
    with noted_interrupts() as interrupts:
        while True:
            status = search.status
            yield status
            if status.state in ("finished", "failed"):
                return
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(
                    "the search has not ended yet; it goes on: wait again, or stop it"
                )
            interrupts.check()
            time.sleep(POLL_SECONDS)


def _beside_panel(search: Search, end: float | None) -> None:
    from autoopt.handle.live import show

    if search._panel is None:
        show(search)
    for _ in _until_ended(search, end):
        pass
    # A notebook that is being run and saved takes what arrives before this cell ends.
    search.panel().wait_settled(SETTLE_SECONDS)


def _with_bar(search: Search, end: float | None, console: Console) -> None:
    spinner = Spinner("dots")
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        for status in _until_ended(search, end):
            live.update(_two_lines(status, spinner))
    console.print(str(status), highlight=False, soft_wrap=True)


def _with_lines(search: Search, end: float | None, console: Console) -> None:
    due = 0.0
    for status in _until_ended(search, end):
        if time.monotonic() >= due or status.state in ("finished", "failed"):
            console.print(str(status), highlight=False, soft_wrap=True)
            due = time.monotonic() + LINE_SECONDS


def _two_lines(status: Status, spinner: Spinner) -> RenderableType:
    """Return how far the search is, and beneath it what is being done."""
    share = _share(status)
    bar = ProgressBar(total=1.0, completed=share or 0.0, pulse=share is None, width=24)
    first = Table.grid(padding=(0, 1))
    first.add_row(Text(status.state.capitalize(), style="bold"), bar, Text(_counts(status)))
    spinner.text = Text(status.now or "preparing", style="dim", no_wrap=True, overflow="ellipsis")
    return Group(first, spinner)


def _share(status: Status) -> float | None:
    """Return how far the search is, between 0 and 1; None while nobody knows."""
    if status.trials_total:
        return min(1.0, status.trials / status.trials_total)
    if status.seconds_left is None:
        return None
    whole = status.seconds_elapsed + status.seconds_left
    return status.seconds_elapsed / whole if whole else 1.0


def _counts(status: Status) -> str:
    total = f"/{status.trials_total}" if status.trials_total else ""
    words = [f"{status.trials}{total} trials"]
    if status.seconds_left is not None:
        words.append(f"{clock(status.seconds_left)} left")
    if status.failed:
        words.append(f"{status.failed} failed")
    if status.best:
        words.append(f"best {status.best}")
    return " · ".join(words)
