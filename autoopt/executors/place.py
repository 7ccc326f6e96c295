"""One isolated lane in a process of its own, led through a pipe by a worker of a cluster.

``python -m autoopt.executors.place FD``: the pipe's file descriptor is inherited. The first
message is the `WorkerSetup`; then come ``("start", number, stage, recipe, timeout)`` and
``("cancel", number)``, answered by ``(number, outcome)``. A worker of a cluster belongs to somebody
else: nothing of what isolation needs (sessions, adopted orphans, limits) is done to it. When it
ends, or asks for nothing for a while, this process ends and takes its lane along.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import psutil

from autoopt.errors import SearchError
from autoopt.executors.interface import MEMORY_SHARE, Pending, WorkerSetup
from autoopt.executors.processes import ProcessExecutor

POLL_SECONDS = 0.05

IDLE_SECONDS = 600.0
"""Time without a stage after which the place is given up; the next stage opens another."""


def main() -> int:
    """Serve stages until the pipe ends."""
    parent = os.getppid()
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    connection = Connection(int(sys.argv[1]))
    # They say that the worker of the cluster is gone.
    with suppress(EOFError, ConnectionError):
        serve(connection)
    return 0


def serve(connection: Connection) -> None:
    """Run what the pipe asks for, one stage at a time, until it ends or nothing comes for long.

    Raises
    ------
    EOFError, ConnectionError
        If the other end is gone.
    """
    setup: WorkerSetup = connection.recv()
    if setup.memory_limit is None:
        free = psutil.virtual_memory().available
        setup = replace(setup, memory_limit=int(MEMORY_SHARE * free) // setup.workers)
    number, pending = 0, None
    # A lane that measures is alone here, whatever else its machine does.
    with closing(ProcessExecutor(setup)) as executor:
        while pending is not None or connection.poll(IDLE_SECONDS):
            if connection.poll(0):
                word, asked, *rest = connection.recv()
                if word == "start":
                    stage, recipe, timeout, bar = rest
                    number = asked
                    pending = executor.start(stage, recipe, timeout=timeout, bar=bar)
                elif pending is not None and asked == number:
                    pending.cancel()
                    pending = None
            if pending is not None and (answer := _answer(pending)) is not None:
                pending = None
                connection.send((number, answer))


def _answer(pending: Pending) -> Any:
    """Return an outcome, what ends the whole search, or None while the stage runs."""
    try:
        return pending.poll(POLL_SECONDS)
    except SearchError as error:
        return error


def _leave_with(parent: int) -> None:
    """End when the process that started this one did, even where its end of the pipe lives on."""
    while os.getppid() == parent:
        time.sleep(1.0)
    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
