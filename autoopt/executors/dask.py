"""Stages on the workers of a Dask cluster; each keeps candidates isolated in a process of its own.

The controller hands each stage to one worker by its address. What a lost worker had under way is
handed to another: networks and artefacts move by their key through the shared cache, and a lease
there keeps two workers from training one network.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from autoopt.errors import SearchError
from autoopt.executors.cluster import Division, Member, connect, members, unfit
from autoopt.executors.interface import Pending, WorkerSetup
from autoopt.outcome import Outcome, Stage
from autoopt.recipe import Recipe
from autoopt.record import Failure

if TYPE_CHECKING:
    from distributed import Future

logger = logging.getLogger("autoopt.executors")

LOOK_SECONDS = 1.0
"""How often the scheduler is asked which workers there are."""

ATTEMPTS = 3
"""Workers that may be lost over one stage before it is the candidate's failure."""

PATIENCE_SECONDS = 300.0
"""Time without any worker for what waits, after which the search ends (and can be resumed)."""


Job = tuple[Stage, Recipe, float, float | None]
"""Stage, recipe, limit in seconds, and the quality that a network must be able to reach."""


class _Running:
    """A stage that waits for a worker, or runs on one."""

    def __init__(self, owner: DaskExecutor, job: Job) -> None:
        self._owner = owner
        self._job = job
        self.member: Member | None = None
        self._future: Future[Outcome] | None = None
        self._done = threading.Event()
        self._losses: list[str] = []
        self._waits_since = time.monotonic()

    @property
    def stage(self) -> Stage:
        return self._job[0]

    def begin(self, member: Member, future: Future[Outcome]) -> None:
        """Take note of who runs it."""
        self.member, self._future = member, future
        self._done.clear()
        future.add_done_callback(lambda _: self._done.set())

    def poll(self, seconds: float) -> Outcome | None:
        """Wait up to some seconds; what a lost worker ran goes to another."""
        self._owner.look()
        if self._future is None:
            self._owner.assign()
        if self._future is None:
            self._check_patience()
            time.sleep(min(seconds, 0.05))
            return None
        if not self._done.wait(seconds):
            if self.member is not None and not self._owner.knows(self.member):
                return self._lost("its worker is gone")
            return None
        if self._future.status == "finished":
            outcome: Outcome = self._future.result()
            self._owner.free(self)
            return outcome
        error = self._future.exception() if self._future.status == "error" else None
        if isinstance(error, SearchError):
            self._owner.free(self)
            raise error
        return self._lost(str(error or f"the scheduler calls it {self._future.status}"))

    def cancel(self) -> None:
        """Take it back; its worker ends what it runs."""
        if self._future is not None:
            self._future.cancel()
        self._owner.free(self)

    def submitted(self) -> Job:
        """Return what a worker is handed."""
        return self._job

    def _lost(self, why: str) -> Failure | None:
        """Wait for another worker, or give up."""
        name = self.member.name if self.member else "?"
        self._losses.append(f"{name}: {why}")
        logger.warning("the %s stage was lost with worker %s (%s)", self.stage, name, why)
        if self._future is not None:
            self._future.cancel()
        self._owner.free(self)
        if len(self._losses) >= ATTEMPTS:
            words = "; ".join(self._losses)
            return Failure(self.stage, "crashed", f"{ATTEMPTS} workers were lost over it: {words}")
        self.member = self._future = None
        self._waits_since = time.monotonic()
        self._owner.queue(self)
        return None

    def _check_patience(self) -> None:
        """Raise when nobody who could run it has been there for long.

        Raises
        ------
        SearchError
            With what to do.
        """
        if self._owner.can_run(self.stage):
            self._waits_since = time.monotonic()
        elif time.monotonic() - self._waits_since > PATIENCE_SECONDS:
            raise SearchError(
                f"the cluster has had no worker for the {self.stage} stage for "
                f"{PATIENCE_SECONDS:.0f} s{self._owner.why_not()}: start workers, then go on with "
                "autoopt.resume(..., client=...)"
            )


class DaskExecutor:
    """One isolated lane on every worker that trains, and one on the worker that measures.

    Parameters
    ----------
    setup
        With the cluster; what it says of memory and log is for each worker to decide.

    Raises
    ------
    SearchError
        If the scheduler does not answer, or no worker can serve.
    """

    def __init__(self, setup: WorkerSetup) -> None:
        if setup.cluster is None:
            raise ValueError("an executor on a cluster needs the address of its scheduler")
        self._setup = replace(setup, cluster=None)
        self._search = uuid.uuid4().hex
        self._members: dict[str, Member] = {}
        self._unfit: dict[str, str] = {}
        self._busy: dict[str, _Running] = {}
        self._waiting: deque[_Running] = deque()
        self._opened: dict[str, Future[str]] = {}
        self._looked = float("-inf")
        self._host = ""
        self._client = connect(setup.cluster)
        try:
            self.look()
            if (lane := self._division.measuring) is None:
                raise SearchError(f"no worker of the cluster can serve{self.why_not()}")
        except SearchError:
            self._client.close()
            raise
        self._host = lane.host

    @property
    def width(self) -> int:
        """Networks that may be trained at the same time."""
        return max(1, len(self._division.training))

    @property
    def apart(self) -> bool:
        """Whether nothing is trained on the machine that measures."""
        return self._division.apart

    @property
    def note(self) -> str:
        """What a person should know about where stages run."""
        return f"{self._division}{self.why_not()}"

    def start(
        self, stage: Stage, recipe: Recipe, *, timeout: float, bar: float | None = None
    ) -> Pending:
        """Hand a stage to a free worker, or have it wait for one."""
        running = _Running(self, (stage, recipe, timeout, bar))
        self.queue(running)
        self.assign()
        return running

    def close(self) -> None:
        """Have the workers end what they do for this search; they themselves go on."""
        from autoopt.executors.dask_worker import close_place

        # A scheduler that is gone cannot be told; its workers see that nobody waits for them.
        if self._client.status == "running":
            with contextlib.suppress(OSError, TimeoutError, RuntimeError):
                for running in [*self._busy.values()]:
                    running.cancel()
                self._client.run(
                    close_place, self._search, workers=list(self._members), on_error="ignore"
                )
        self._client.close()

    # --- for the stages under way --------------------------------------------------------------

    def look(self) -> None:
        """See which workers there are, and have new ones get ready."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        found = members(self._client)
        self._looked = time.monotonic()
        self._members = {a: m for a, m in self._members.items() if a in found}
        new = [a for a in found if a not in self._members and a not in self._unfit]
        if not new:
            return
        self._unfit |= unfit(self._client, new, self._setup.cache)
        fit = {address: found[address] for address in new if address not in self._unfit}
        for address in fit.keys() ^ set(new):
            logger.warning("worker %s cannot serve: %s", address, self._unfit[address])
        self._members |= fit
        self._opened |= {member.address: self._open(member) for member in fit.values()}
        self._looked = time.monotonic()

    def knows(self, member: Member) -> bool:
        """Say whether a worker is still there."""
        return member.address in self._members

    def can_run(self, stage: Stage) -> bool:
        """Say whether there is a worker for a stage, free or not."""
        return bool(self._able(stage))

    def why_not(self) -> str:
        """Say which workers cannot serve, and why."""
        if not self._unfit:
            return ""
        address, reason = next(iter(self._unfit.items()))
        return f" ({len(self._unfit)} cannot serve; {address}: {reason})"

    def queue(self, running: _Running) -> None:
        """Have a stage wait for a worker."""
        self._waiting.append(running)

    def free(self, running: _Running) -> None:
        """Let go of what a stage holds."""
        self._busy = {a: other for a, other in self._busy.items() if other is not running}
        if running in self._waiting:
            self._waiting.remove(running)

    def assign(self) -> None:
        """Hand what waits to workers that are free."""
        for running in tuple(self._waiting):
            free = [m for m in self._able(running.stage) if m.address not in self._busy]
            if free:
                self._waiting.remove(running)
                self._submit(running, free[0])

    # --- inside --------------------------------------------------------------------------------

    @property
    def _division(self) -> Division:
        return Division.of(self._members.values(), self._host)

    def _able(self, stage: Stage) -> tuple[Member, ...]:
        """Return the workers that may run a stage.

        What is built for a device is built on it: a compiler asks the machine that it runs on.
        """
        division = self._division
        if stage == "network" or (stage == "artifact" and not division.apart):
            return division.training
        return () if division.measuring is None else (division.measuring,)

    def _submit(self, running: _Running, member: Member) -> None:
        from autoopt.executors.dask_worker import run_stage

        self._busy[member.address] = running
        job = running.submitted()
        opened = self._opened[member.address]
        options = {"workers": [member.address], "pure": False, "retries": 0}
        running.begin(member, self._client.submit(run_stage, opened, *job, **options))

    def _open(self, member: Member) -> Future[str]:
        """Have a worker start its process; what it imports is ready when the first stage comes."""
        from autoopt.executors.dask_worker import open_place

        beside = [m for m in self._division.training if m.host == member.host]
        setup = replace(self._setup, workers=max(1, len(beside)))
        options = {"workers": [member.address], "pure": False, "retries": 0}
        return self._client.submit(open_place, self._search, setup, **options)
