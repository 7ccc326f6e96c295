"""What runs inside a worker of a Dask cluster: it leads places, one for each search it serves."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from distributed import get_worker

from autoopt.executors.interface import WorkerSetup
from autoopt.outcome import Outcome, Stage
from autoopt.recipe import Recipe

POLL_SECONDS = 0.2

GONE_SECONDS = 10.0


class PlaceLostError(RuntimeError):
    """The process that ran a stage is gone, and it was not the stage that ended it."""


@dataclass
class _Place:
    """A process that serves one search.

    Attributes
    ----------
    search
        Whose.
    setup
        What it was opened with.
    lock
        Held while a stage runs.
    """

    search: str
    setup: WorkerSetup
    lock: threading.Lock = field(default_factory=threading.Lock)
    process: subprocess.Popen[bytes] | None = None
    connection: Connection | None = None
    number: int = 0

    def opened(self) -> Connection:
        """Return the pipe to the process, which is started where there is none."""
        if self.process is None or self.connection is None or self.process.poll() is not None:
            self.close()
            ours, theirs = Pipe()
            package = str(Path(__file__).parents[2])
            path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
            self.process = subprocess.Popen(
                [sys.executable, "-m", "autoopt.executors.place", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,
            )
            theirs.close()
            ours.send(self.setup)
            self.connection = ours
        return self.connection

    def close(self) -> None:
        """End the process; it sees the end of the pipe and takes its lane along."""
        if self.connection is not None:
            self.connection.close()
        if self.process is not None:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(GONE_SECONDS)
            self.process.kill()
            self.process.wait()
        self.connection = self.process = None


# Dask calls plain functions: what a worker keeps between two has no other place.
_places: dict[str, _Place] = {}


def open_place(search: str, setup: WorkerSetup) -> str:
    """Have a process for a search get ready, and return the search's name."""
    if search not in _places:
        folder = Path(tempfile.mkdtemp(prefix="autoopt-", dir=get_worker().local_directory))
        _places[search] = _Place(search, replace(setup, log=folder / "worker.log"))
        _places[search].opened()
    return search


def run_stage(
    search: str, stage: Stage, recipe: Recipe, timeout: float, bar: float | None
) -> Outcome:
    """Run one stage in the process of a search, until it ends or nobody wants it any more.

    Raises
    ------
    PlaceLostError
        If the process is gone, or was never opened.
    SearchError
        If what failed is no fault of the candidate's.
    """
    place = _places.get(search)
    if place is None:
        raise PlaceLostError("this worker was not opened for the search")
    with place.lock:
        try:
            found = _answer(place, (stage, recipe, timeout, bar))
        except (EOFError, OSError) as error:
            place.close()
            raise PlaceLostError(f"the process on this worker is gone ({error!r})") from error
    if isinstance(found, Exception):
        raise found
    outcome: Outcome = found
    return outcome


def close_place(search: str) -> None:
    """End the process of a search, whatever it does."""
    place = _places.pop(search, None)
    if place is not None:
        # Not here: Dask's own loop would wait.
        threading.Thread(target=place.close, daemon=True).start()


def _answer(place: _Place, job: tuple[Any, ...]) -> Any:
    connection = place.opened()
    place.number += 1
    connection.send(("start", place.number, *job))
    while True:
        if connection.poll(POLL_SECONDS):
            number, found = connection.recv()
            # What was cancelled may have ended just before.
            if number == place.number:
                return found
        elif not _is_wanted():
            connection.send(("cancel", place.number))
            raise PlaceLostError("nobody wants this stage any more")


def _is_wanted() -> bool:
    """Say whether the scheduler still waits for the task that calls this."""
    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    return task is not None and task.state not in ("cancelled", "released", "forgotten")


def places() -> list[int]:
    """Return the process ids of all places of this worker."""
    return [p.process.pid for p in _places.values() if p.process and p.process.poll() is None]
