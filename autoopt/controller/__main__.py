"""The controller's process: ``python -m autoopt.controller``, with its job on standard input.

Standard input stays open as long as the process that started it lives: its end is the
controller's end.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import sqlite3
import sys
import threading
import traceback
from typing import BinaryIO

import filelock

from autoopt.controller.job import LOCK, LOG, Job
from autoopt.controller.setup import worker_setup
from autoopt.disk import full_disk
from autoopt.errors import SearchError
from autoopt.executors import load_executor
from autoopt.log import Log

logger = logging.getLogger("autoopt.controller")

LOCK_SECONDS = 30.0
"""How long a controller waits for an earlier one in its folder to end."""


def main() -> int:
    """Read the job, run the search, and leave no worker behind."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # Ctrl-C in a terminal reaches the whole group; who started the search decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stdin = sys.stdin.buffer
    job = _read_job(stdin)
    try:
        with filelock.FileLock(job.folder / LOCK, timeout=LOCK_SECONDS):
            return _run(job, stdin)
    except filelock.Timeout:
        logger.error("another controller works in %s; this one leaves", job.folder)
        return 2
    finally:
        _remove_snapshot(job)


def _run(job: Job, stdin: BinaryIO) -> int:
    """Search, with the folder to ourselves."""
    log = Log(job.folder / LOG, create=True)
    threading.Thread(target=_end_with_parent, args=(stdin, log), daemon=True).start()
    try:
        # Closed before the last words: a worker that maps the snapshot keeps its room taken.
        with contextlib.closing(load_executor(job.executor, worker_setup(job))) as executor:
            # Imported only now: the worker starts while Optuna is read from disk.
            from autoopt.controller.controller import SearchController

            reason = SearchController(job, executor, log).run()
        logger.info("finished: %s", reason)
    except Exception as error:  # noqa: BLE001 - the process ends here: its last words go to the log
        text = "".join(traceback.format_exception(error))
        logger.error("%s", text)
        if isinstance(error, SearchError):
            reason = str(error)
        else:
            reason = full_disk(job.folder, error) or f"{type(error).__name__}: {error}"
        # The last word needs room on a full disk. Where there is none, the handle looks itself.
        _remove_snapshot(job)
        with contextlib.suppress(sqlite3.Error):
            log.append("finished", {"reason": reason, "error": text})
        return 1
    return 0


def _read_job(stream: BinaryIO) -> Job:
    size = int.from_bytes(stream.read(8), "little")
    job = pickle.loads(stream.read(size))
    if not isinstance(job, Job):
        raise TypeError(f"a controller must be handed a Job, but got {type(job).__name__}")
    return job


def _end_with_parent(stream: BinaryIO, log: Log) -> None:
    """Stop the search when standard input ends, and leave even if that does not help."""
    # Not through the stream: its lock, held while it waits, would break the interpreter's exit.
    while os.read(stream.fileno(), 4096):
        pass
    try:
        log.append("command", {"command": "stop", "reason": "the process that started it ended"})
        threading.Event().wait(20.0)
    finally:
        # On a full disk the command cannot be written, and nobody is left to free it.
        os._exit(1)


def _remove_snapshot(job: Job) -> None:
    import shutil

    shutil.rmtree(job.snapshot, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
