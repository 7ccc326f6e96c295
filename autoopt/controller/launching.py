"""Starting a controller from a kernel or a script."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import psutil

from autoopt.controller.job import CONTROLLER_LOG, Job


class Launched:
    """A controller that this process started; it stops when this process ends or lets go of it.

    Attributes
    ----------
    launched
        Seconds since the epoch when it was asked for; its run bears the same in the log.
    """

    def __init__(self, process: subprocess.Popen[bytes], launched: float) -> None:
        self._process = process
        self.launched = launched

    @property
    def alive(self) -> bool:
        """Whether the controller still runs."""
        if self._process.poll() is None:
            return True
        if self._process.stdin is not None:
            # What could not be handed over any more is lost with the process.
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        return False

    def join(self, seconds: float = 30.0) -> None:
        """Wait until it is gone with its workers; its last word comes a moment before."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        # Looking at it closes what belongs to it.
        _ = self.alive

    def kill(self) -> None:
        """End it with its workers, now."""
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(self._process.pid)
            for process in [*family.children(recursive=True), family]:
                process.kill()
        self._process.wait()


def launch(job: Job) -> Launched:
    """Start the controller of a job in a process of its own.

    The job goes through a pipe, which then stays open: when this process ends, the controller
    sees its end and stops.
    """
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    payload = pickle.dumps(job)
    with (job.folder / CONTROLLER_LOG).open("ab") as output:
        process = subprocess.Popen(
            # The folder is for those who look at the list of processes.
            [sys.executable, "-m", "autoopt.controller", str(job.folder)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": path},
            # A terminal's Ctrl-C is for the person's process, which decides what it means.
            start_new_session=True,
        )
    if process.stdin is None:
        raise RuntimeError("the controller has no standard input")
    # A controller that dies at birth leaves its reason in its log, which the handle shows.
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(len(payload).to_bytes(8, "little"))
        process.stdin.write(payload)
        process.stdin.flush()
    return Launched(process, job.launched)
