"""Reading a search that is there, without its model: `autoopt.open`."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from autoopt.controller.job import LOG
from autoopt.errors import FolderError
from autoopt.handle.comparison import Comparison, compared_searches
from autoopt.handle.handle import Search


def open_search(folder: str | Path) -> Search:
    """Read a finished or running search; neither model nor data is needed.

    Parameters
    ----------
    folder
        The search's folder, here or a copy of it from another machine.

    Returns
    -------
    Search
        Front, trials, best, pick, panel and figures. To go on with it is `autoopt.resume`'s.

    Raises
    ------
    FolderError
        If there is no search, or its log is damaged, foreign or of a newer version.
    """
    where = Path(folder).absolute()
    if not where.is_dir():
        what = "a file" if where.exists() else "not there"
        raise FolderError(f"a search is a folder that holds {LOG}, but {where} is {what}")
    if not (where / LOG).is_file():
        raise FolderError(
            f"{where} holds no search: its {LOG} is missing. Give the folder that "
            "autoopt.search(..., folder=...) made, unpacked if it was sent as a zip"
        )
    try:
        search = Search(where, None)
        if not search._known().last_id:
            raise FolderError(f"the search in {where} was never begun: its {LOG} is empty")
        _touch(search)
    except FolderError:
        raise
    except (
        sqlite3.Error,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise FolderError(
            f"the {LOG} in {where} cannot be read: {error!r}. It was cut short or changed on its "
            "way, or written by another version; copy the folder again"
        ) from error
    return search


def compared_with(search: Search, other: Search | str | Path) -> Comparison:
    """Return a search and another, or its folder, side by side; see `Search.compare`."""
    if not isinstance(other, Search | str | Path):
        raise TypeError(
            f"a search is compared with another one or its folder, but got {type(other).__name__}"
        )
    if not isinstance(other, Search):
        other = open_search(other)
    return compared_searches(search._known(), other._known(), (search.folder, other.folder))


def _touch(search: Search) -> None:
    """Look at all that the log tells, so that what was changed in it is found now."""
    history = search._known()
    _ = search.settings, history.front.members, history.networks, history.work_seconds
    _ = search.status, search.notes, search.chosen
