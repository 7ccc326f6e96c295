"""The append-only log of a search: the one truth that everything else is derived from."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from autoopt.errors import FolderError

EventKind = Literal[
    "created",  # a search is asked for: its settings and the name of its study
    "opened",  # a controller begins: the search's settings and what the task is
    "refusals",  # what cannot run here, and what the cache holds, said beforehand
    "note",  # something that the person should know, in a sentence
    "started",  # a candidate begins: number, recipe, role
    "stage",  # a stage of a candidate ended: seconds, key, cached, trained
    "record",  # a candidate ended: the record as measured
    "again",  # a further measurement of a candidate, to decide about its place on the front
    "abandoned",  # a candidate was cut off by the budget or a stop, and is no failure
    "memory",  # peak memory of a member of the front, measured in a process of its own
    "command",  # pause, go on, stop, more budget: sent by a handle
    "paused",  # the controller waits, or goes on
    "choice",  # the person chose a strategy
    "finished",  # the controller ended, and why
]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time REAL NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL
)
"""


@dataclass(frozen=True)
class Event:
    """One thing that happened; `time` is in seconds since the epoch."""

    id: int
    time: float
    kind: EventKind
    payload: Mapping[str, Any]


class Log:
    """Transactional list of events in one SQLite file, written and followed by many processes.

    Parameters
    ----------
    path
        The file; made when missing if `create`.
    create
        Whether a missing file is made.

    Raises
    ------
    FolderError
        If the file is missing and not to be made, or is no log.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path.absolute()  # the process may go elsewhere
        try:
            with self._connection(create=create) as connection:
                # An empty file is a log that was killed at birth; another database stays as it is.
                if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    connection.execute(_SCHEMA)
                connection.execute("SELECT id, time, kind, payload FROM events LIMIT 0")
        except sqlite3.DatabaseError as error:
            if "locked" in str(error) or "full" in str(error):
                raise
            if not path.is_file():
                raise FolderError(
                    f"a log cannot be made at {path} ({error}): its folder must exist and be "
                    "writable"
                ) from error
            raise FolderError(f"{path} is not the log of a search: {error}") from error

    @contextmanager
    def _connection(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        """Open for one use: a connection may not be shared between threads or survive a fork.

        Raises
        ------
        FolderError
            If the file is gone.
        """
        if not create and not self.path.is_file():
            raise FolderError(f"there is no search in {self.path.parent}: {self.path.name} is gone")
        # A file that vanishes just now is not made anew.
        address = f"{self.path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
        with closing(sqlite3.connect(address, timeout=30, uri=True)) as connection, connection:
            yield connection

    def append(self, kind: EventKind, payload: Mapping[str, Any]) -> int:
        """Write one event durably and return its id."""
        text = json.dumps(payload)
        with self._connection() as connection:
            cursor = connection.execute(
                "INSERT INTO events (time, kind, payload) VALUES (?, ?, ?)",
                (time.time(), kind, text),
            )
            return int(cursor.lastrowid or 0)

    def read(self, after: int = 0, *, kind: EventKind | None = None) -> list[Event]:
        """Return the events with an id above `after`, oldest first."""
        query, values = "SELECT id, time, kind, payload FROM events WHERE id > ?", [after]
        with self._connection() as connection:
            rows = connection.execute(
                query + (" AND kind = ?" if kind else "") + " ORDER BY id",
                [*values, kind] if kind else values,
            ).fetchall()
        return [Event(row[0], row[1], row[2], json.loads(row[3])) for row in rows]
