"""Stages in isolated, long-lived processes that are replaced when they die or hang."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import signal
import time
from dataclasses import replace
from pathlib import Path

from pebble import ProcessExpired, ProcessPool

from autoopt.errors import SearchError
from autoopt.executors import descendants, worker
from autoopt.executors.interface import Pending, WorkerSetup
from autoopt.outcome import Outcome, Stage
from autoopt.recipe import Recipe
from autoopt.record import Failure

LOG_TAIL = 8000
"""Bytes of what a worker printed that are kept with a failure."""

PREPARE_SECONDS = 600.0

BROKEN = "CUDA error"
"""What torch says of a device that an earlier kernel has left unusable to this process."""


class _Running:
    """A stage that runs in the worker."""

    def __init__(
        self, future: concurrent.futures.Future[Outcome], stage: Stage, limit: float, log: Path
    ) -> None:
        self._future = future
        self._stage = stage
        self._limit = limit
        self._log = log
        self.failed = False
        self.ended = False
        self._begin = log.stat().st_size if log.exists() else 0

    def poll(self, seconds: float) -> Outcome | None:
        """Wait up to some seconds; a worker that died or hung comes back as a failure."""
        done, _ = concurrent.futures.wait([self._future], timeout=seconds)
        if not done:
            return None
        self.ended = True
        error = self._future.exception()
        if error is None:
            outcome = self._future.result()
            # What a kernel broke stays broken for the whole process: its lane gets a new one.
            self.failed = isinstance(outcome, Failure) and BROKEN in outcome.message
            return outcome
        self.failed = True
        if isinstance(error, TimeoutError):
            return Failure(
                self._stage,
                "timed_out",
                f"did not end within {self._limit:.0f} s and was killed",
                self._printed(),
            )
        if isinstance(error, ProcessExpired):
            return self._death(error)
        if isinstance(error, SearchError):
            raise error
        # Such as sys.exit in a technique, or a worker that died before it could begin.
        message = f"{type(error).__name__}: {error}"
        return Failure(self._stage, "crashed", message, self._printed())

    def cancel(self) -> None:
        """Kill the worker if it runs this stage."""
        self.failed = self.ended = True
        self._future.cancel()

    def _death(self, error: ProcessExpired) -> Failure:
        code = int(error.exitcode)
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        if code == -signal.SIGKILL:
            return Failure(
                self._stage,
                "out_of_memory",
                "the worker was killed (SIGKILL), which the kernel does when memory runs out",
                self._printed(),
            )
        return Failure(self._stage, "crashed", f"the worker process died: {name}", self._printed())

    def _printed(self) -> str:
        """Return the end of what the worker printed since this stage began."""
        if not self._log.exists():
            return ""
        with self._log.open("rb") as file:
            file.seek(self._begin)
            return file.read()[-LOG_TAIL:].decode(errors="replace")


class _Lane:
    """One worker process at a time; the pool, its limits and dead workers' successors are pebble's.

    Attributes
    ----------
    free
        Whether nothing runs here.
    """

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self._since = time.time()
        self._running: _Running | None = None
        self._pool = self._new_pool()
        # The worker takes seconds to start: it may begin while its owner still gets ready.
        self._pool.schedule(worker.prepare, timeout=PREPARE_SECONDS)

    @property
    def free(self) -> bool:
        return self._running is None or self._running.ended

    def _new_pool(self) -> ProcessPool:
        # Not forked: a runtime's threads do not survive a fork.
        return ProcessPool(
            max_workers=1,
            initializer=worker.start,
            initargs=(self._setup,),
            context=multiprocessing.get_context("spawn"),
        )

    def start(
        self, stage: Stage, recipe: Recipe, *, timeout: float, bar: float | None = None
    ) -> Pending:
        if not self._pool.active or (self._running and self._running.failed):
            # Pebble gives a pool up when a worker dies between two jobs, and a candidate that
            # broke the pipe to it may have left it deaf. A new one costs no more than the worker.
            self.close()
            self._pool = self._new_pool()
        # A worker may be new, and the limit is the candidate's. What fails here fails again there.
        self._pool.schedule(worker.prepare, timeout=PREPARE_SECONDS)
        future = self._pool.schedule(worker.run, args=(stage, recipe, bar), timeout=timeout)
        self._running = _Running(future, stage, timeout, self._setup.log)
        return self._running

    def close(self) -> None:
        self._pool.stop()  # type: ignore[no-untyped-call]  # pebble has none there
        self._pool.join()
        descendants.end_all(descendants.foreign_orphans(self._since))


class ProcessExecutor:
    """As many worker processes as the setup wants, one of which measures.

    Whoever hands stages over sees to it that nothing else runs while something is measured.
    """

    apart = False
    note = ""

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self._closed = False
        descendants.adopt_orphans()
        # Further ones are started when they are needed.
        self._lanes = [_Lane(setup)]

    @property
    def width(self) -> int:
        """Networks that may be made at the same time."""
        return self._setup.workers

    def start(
        self, stage: Stage, recipe: Recipe, *, timeout: float, bar: float | None = None
    ) -> Pending:
        """Hand a stage to a free worker.

        Raises
        ------
        RuntimeError
            If as many stages run already as there are workers.
        """
        lane = next((lane for lane in self._lanes if lane.free), None)
        if lane is None and len(self._lanes) < self._setup.workers:
            log = self._setup.log
            # What a worker printed stands with its candidate's failure: each has a file of its own.
            own = log.with_name(f"{log.stem}-{len(self._lanes) + 1}{log.suffix}")
            lane = _Lane(replace(self._setup, log=own))
            self._lanes.append(lane)
        if lane is None:
            raise RuntimeError(f"no more than {self._setup.workers} stages may run at a time")
        return lane.start(stage, recipe, timeout=timeout, bar=bar)

    def close(self) -> None:
        """End the workers, whatever they do."""
        for lane in self._lanes:
            lane.close()
        if not self._closed:
            self._closed = True
            descendants.release_orphans()
